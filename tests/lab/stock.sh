# SPDX-License-Identifier: Apache-2.0
# On level 1: what a stock Debian must be able to do in a machine of ours. Its
# disk is an image over a snapshot in a store. Settings: CPUS, of the guest; NET:
# user or tap; CPU: its model; LIMIT: seconds for what is waited for; PARTS, out of:
# net vsock trim apt reboot acpi.
. /files/lib.sh
machine=debian
export VMSNAP_STORE=/lab/store VMSNAP_PASSPHRASE=lab

has() { case " $PARTS " in *" $1 "*) ;; *) return 1 ;; esac; }

# in_guest COMMAND: by the stock guest agent.
in_guest() { vmsnap exec $machine --timeout "$limit" -- sh -c "$1" </dev/null; }

# What the kernel complains of, but for what level 1's own processor, QEMU's,
# brings about; a guest of QEMU's KVM beside ours has these, too: a guest's
# XSETBV is not told to KVM, so its size of XSAVE is out of date; and an
# emulated TSC goes as fast as this machine lets it.
complaints() {
	in_guest "dmesg --level=emerg,alert,crit,err,warn" |
		sed '/-\[ cut here \]-/{ N; /XSAVE consistency/,/-\[ end trace/{
			:more; /-\[ end trace/d; N; b more } }' |
		grep -v -e 'clocksource' -e 'CPUID\[0d, ..\]: eax' \
			-e 'Unstable clock' \
			-e 'want to keep using the local clock' \
			-e 'trace_clock=local' -e 'on the kernel command line' \
			-e 'CONFIG_IMA_DISABLE_HTABLE' -e 'hrtimer: interrupt took'
}

start() {
	local net=$NET
	mkdir -p /tmp/www
	cp /files/repository/* /files/tool /tmp/www/
	if [ "$NET" = tap ]; then
		tunctl -t tap0 >/dev/null || exit 1
		ip addr add 192.168.7.1/24 dev tap0
		ip link set tap0 up
		printf '%s\n' 'interface tap0' 'start 192.168.7.2' \
			'end 192.168.7.2' 'option router 192.168.7.1' \
			'lease_file /tmp/leases' >/tmp/udhcpd.conf
		: >/tmp/leases
		udhcpd /tmp/udhcpd.conf
		host=192.168.7.1
		net=tap=tap0
	else
		# The gateway's address is this host's loopback.
		host=10.0.2.2
		net=user,host
	fi
	httpd -p 8000 -h /tmp/www
	vmsnap run $machine --from debian --memory 512M --cpus "$CPUS" \
		--cpu "${CPU:-host}" --net "$net" \
		--append systemd.show_status=0 || exit 1
}

goes_by_agent() {
	in_guest 'echo out; echo err >&2; exit 7' >/tmp/out 2>/tmp/err
	[ $? = 7 ] || fail "exec: the status: $(cat /tmp/out /tmp/err)"
	[ "$(cat /tmp/out)$(cat /tmp/err)" = outerr ] ||
		fail "exec: the output: $(cat /tmp/out /tmp/err)"
	[ "$(in_guest nproc)" = "$CPUS" ] || fail "it does not have $CPUS CPUs"
	say "exec: by the stock guest agent"
}

complains_of_nothing() {
	complaints >/results/complaints
	[ ! -s /results/complaints ] || {
		cat /results/complaints
		fail "its kernel complains"
	}
	say "its kernel complains of nothing of ours"
}

# The host takes them apart.
acpi() {
	local table
	mkdir -p /results/acpi
	for table in $(in_guest 'cd /sys/firmware/acpi/tables; ls -p' |
		grep -v / | grep -v FACS); do
		in_guest "cat /sys/firmware/acpi/tables/$table" \
			>/results/acpi/$table.dat || fail "its ACPI table $table"
	done
}

net() {
	in_guest "i=0
		until ping -c 1 -W 2 $host; do
			i=\$((i + 1)); [ \$i -lt 60 ] || exit 1; sleep 1
		done
		ping -c 3 -i 0.2 $host" >/tmp/out || fail "ping: $(cat /tmp/out)"
	say "ping over $NET"
	# What Debian lacks for the rest of this comes in this way.
	in_guest "curl -sS -o /root/tool http://$host:8000/tool &&
		chmod 755 /root/tool && sha256sum </root/tool" >/tmp/out ||
		fail "HTTP: $(cat /tmp/out)"
	[ "$(cat /tmp/out)" = "$(sha256sum </files/tool)" ] ||
		fail "HTTP: other bytes came"
	say "HTTP over $NET"
}

vsock() {
	local sockets=$VMSNAP_HOME/machines/$machine
	head -c 300000 /dev/urandom >/tmp/bytes
	in_guest 'setsid /root/tool listen 1234 >/dev/null 2>&1 &'
	until_true "a listener at vsock port 1234" \
		in_guest 'ss --vsock -ln | grep -q ":1234 "'
	/files/tool call "$sockets/vsock.sock" 1234 </tmp/bytes >/tmp/back ||
		fail "vsock: to the guest"
	cmp /tmp/bytes /tmp/back || fail "vsock: other bytes came back"
	(cd "$sockets" && exec /files/tool serve vsock_77.sock) &
	until_true "vsock_77.sock" [ -S "$sockets/vsock_77.sock" ]
	in_guest 'head -c 300000 /dev/urandom >/tmp/bytes
		/root/tool send 2 77 </tmp/bytes >/tmp/back &&
		cmp /tmp/bytes /tmp/back' || fail "vsock: from the guest"
	kill $!
	say "vsock, both ways"
}

# Blocks of the image's own files.
held() { du -k "$VMSNAP_HOME/machines/$machine"/*.vsi* | awk '{ n += $1 } END { print n }'; }
trim() {
	local before during after
	before=$(held)
	in_guest 'head -c 64M /dev/urandom >/root/large && sync' || fail "64 MiB"
	during=$(held)
	# What is given up is free once a flush has made it so.
	in_guest 'rm /root/large && sync && fstrim -v / && echo >/root/x && sync' ||
		fail "fstrim"
	after=$(held)
	[ $((during - before)) -gt 60000 ] && [ $((during - after)) -gt 60000 ] ||
		fail "fstrim: $before, then $during, then $after KiB"
	say "fstrim: $during KiB of the image's files are $after"
}

apt() {
	in_guest "set -e
		echo 'deb [trusted=yes] http://$host:8000/ ./' >/root/lab.list
		options='-o Dir::Etc::sourcelist=/root/lab.list -o Dir::Etc::sourceparts=-'
		apt-get \$options -q update
		apt-get \$options -q -y install lab
		dpkg -V lab" >/tmp/out 2>&1 || fail "apt: $(cat /tmp/out)"
	say "apt: a package of 200 files, each one flushed"
}

reboots() {
	mark
	# The command's end may go under with the agent that tells it.
	in_guest 'systemctl reboot' >/tmp/out 2>&1 || cat /tmp/out
	prompted
	has apt && { in_guest 'dpkg -V lab && test -f /opt/lab/200' ||
		fail "after a reboot its files are others"; }
	say "rebooted; its files are what they were"
}

say "stock Debian, $CPUS CPUs (${CPU:-host}), network: $NET"
start
seen=0
prompted
say "login prompt"
goes_by_agent
logged_in
on_guest 'cat /proc/loadavg' || fail "at its console"
say "logged in at its console"
has acpi && acpi
has net && net
has vsock && vsock
has trim && trim
has apt && apt
has reboot && reboots
complains_of_nothing

if has reboot; then
	in_guest poweroff >/tmp/out 2>&1 || cat /tmp/out
else
	vmsnap stop $machine --timeout "$limit" || fail "its power button"
fi
end=$(($(date +%s) + limit))
until is_in $machine stopped; do
	is_up $machine || break
	[ "$(date +%s)" -lt $end ] || break
	sleep 0.3
done
vmsnap ps | grep "stopped .*the guest powered off" ||
	fail "it did not power itself off"
say "powered off"
cp "$(log $machine)" /results/
vmsnap rm $machine || fail "rm"
