/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What network a machine has, as words of the command line and as an object of
 * machine.json. A port that is passed on is kept in the words in which it was
 * given: they are checked here, letter by letter, because they become
 * arguments of another program.
 */
#include "vmsnap/machine_net.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *const kind_names[] = {
	[VMS_NET_NONE] = "none",
	[VMS_NET_USER] = "user",
	[VMS_NET_TAP] = "tap",
};

/* ---- checks ---- */

static bool is_interface(const char *name)
{
	size_t size = strlen(name);

	if (!size || size >= VMS_NET_INTERFACE_MAX || !strcmp(name, ".") ||
	    !strcmp(name, ".."))
		return false;
	for (size_t i = 0; i < size; i++) {
		if (name[i] <= ' ' || name[i] > '~' || strchr("/:%", name[i]))
			return false;
	}
	return true;
}

/* A port and what ends it: ':' or the end of the text. */
static const char *take_port(const char *text)
{
	unsigned long port = 0;
	size_t size = strspn(text, "0123456789");

	for (size_t i = 0; i < size && size <= 5; i++)
		port = 10 * port + (unsigned)(text[i] - '0');
	return port && port <= 65535 ? text + size : "?";
}

/* (tcp|udp)=[ADDRESS/]PORT[:PORT] */
static bool is_forward(const char *text)
{
	const char *at = text + 4, *slash;

	if ((strncmp(text, "tcp=", 4) && strncmp(text, "udp=", 4)) ||
	    strlen(text) >= VMS_NET_FORWARD_MAX)
		return false;
	slash = strchr(at, '/');
	if (slash) {
		if (slash == at || strspn(at, "0123456789abcdefABCDEF.:") !=
					   (size_t)(slash - at))
			return false;
		at = slash + 1;
	}
	at = take_port(at);
	if (*at == ':')
		at = take_port(at + 1);
	return !*at;
}

static bool is_mac(const char *text)
{
	for (unsigned i = 0; i < VMS_NET_MAC_SIZE - 1; i++) {
		if (i % 3 == 2
			    ? text[i] != ':'
			    : !text[i] || !strchr("0123456789abcdef", text[i]))
			return false;
	}
	/* Bit 0 of the first byte: a group, and no machine. */
	return !text[VMS_NET_MAC_SIZE - 1] && strchr("02468ace", text[1]) &&
	       strcmp(text, "00:00:00:00:00:00") != 0;
}

int machine_net_check(const struct vms_machine_net *net, struct err *err)
{
	char safe[256];

	if (net->kind == VMS_NET_NONE)
		return 0;
	if (!is_mac(net->mac))
		return err_set(err, -EINVAL,
			       "'%s' is no MAC address of a machine, like "
			       "52:54:00:12:34:56",
			       escape_name(safe, sizeof(safe), net->mac));
	if (net->kind == VMS_NET_TAP && !is_interface(net->interface))
		return err_set(err, -EINVAL, "'%s' is no name of an interface",
			       escape_name(safe, sizeof(safe), net->interface));
	if (net->forward_count > VMS_NET_FORWARDS_MAX)
		return err_set(err, -EINVAL, "more than %u ports to pass on",
			       VMS_NET_FORWARDS_MAX);
	for (unsigned i = 0; i < net->forward_count; i++) {
		if (!is_forward(net->forwards[i]))
			return err_set(err, -EINVAL,
				       "'%s' names no port to pass on: "
				       "tcp=[ADDRESS/]PORT[:PORT] or udp=...",
				       escape_name(safe, sizeof(safe),
						   net->forwards[i]));
	}
	return 0;
}

/* ---- words ---- */

static int not_understood(const char *text, struct err *err)
{
	char safe[256];

	return err_set(err, -EINVAL,
		       "'%s': user, user,tcp=PORT:PORT, user,host, "
		       "tap=INTERFACE or none",
		       escape_name(safe, sizeof(safe), text));
}

/* One of those behind "user", `size` letters. */
static int take_part(struct vms_machine_net *net, const char *part, size_t size,
		     struct err *err)
{
	char *to = net->forwards[net->forward_count];

	if (size == 4 && !strncmp(part, "host", 4)) {
		net->host = true;
		return 0;
	}
	if (net->forward_count == VMS_NET_FORWARDS_MAX)
		return err_set(err, -EINVAL, "more than %u ports to pass on",
			       VMS_NET_FORWARDS_MAX);
	if (size >= VMS_NET_FORWARD_MAX)
		return not_understood(part, err);
	memcpy(to, part, size);
	to[size] = 0;
	if (!is_forward(to))
		return not_understood(to, err);
	net->forward_count++;
	return 0;
}

int vms_net_parse(const char *text, struct vms_machine_net *out,
		  struct err *err)
{
	struct vms_machine_net net = { .kind = VMS_NET_USER };
	const char *at = text + 4;
	int r = 0;

	if (!strcmp(text, "none")) {
		net.kind = VMS_NET_NONE;
	} else if (!strncmp(text, "tap=", 4)) {
		net.kind = VMS_NET_TAP;
		if (!is_interface(at))
			return not_understood(text, err);
		memcpy(net.interface, at, strlen(at) + 1);
	} else if (strncmp(text, "user", 4) || (*at && *at != ',')) {
		return not_understood(text, err);
	} else {
		while (!r && *at == ',') {
			size_t size = strcspn(at + 1, ",");

			r = take_part(&net, at + 1, size, err);
			at += 1 + size;
		}
	}
	if (!r)
		*out = net;
	return r;
}

int vms_net_set_mac(struct vms_machine_net *net, const char *mac,
		    struct err *err)
{
	uint8_t own[3];
	char safe[256];
	int r;

	if (!mac) {
		r = random_fill(own, sizeof(own), err);
		if (r)
			return r;
		snprintf(net->mac, sizeof(net->mac), "52:54:00:%02x:%02x:%02x",
			 own[0], own[1], own[2]);
		return 0;
	}
	for (unsigned i = 0; i < sizeof(net->mac) - 1 && mac[i]; i++) {
		net->mac[i] = mac[i] >= 'A' && mac[i] <= 'F'
				      ? (char)(mac[i] - 'A' + 'a')
				      : mac[i];
		net->mac[i + 1] = 0;
	}
	if (strlen(mac) == strlen(net->mac) && is_mac(net->mac))
		return 0;
	return err_set(err, -EINVAL,
		       "--mac '%s': an address like 52:54:00:12:34:56",
		       escape_name(safe, sizeof(safe), mac));
}

/* ---- machine.json ---- */

json_t *machine_net_document(const struct vms_machine_net *net)
{
	json_t *forwards, *interface;

	if (net->kind == VMS_NET_NONE)
		return json_null();
	forwards = json_array();
	for (unsigned i = 0; i < net->forward_count; i++)
		(void)json_array_append_new(forwards,
					    json_string(net->forwards[i]));
	interface = *net->interface ? json_string(net->interface) : json_null();
	return json_pack("{s:s, s:s, s:o, s:o, s:b}", "kind",
			 kind_names[net->kind], "mac", net->mac, "interface",
			 interface, "forwards", forwards, "host", net->host);
}

static int get_word(const json_t *value, char *out, size_t size)
{
	if (!json_is_string(value) || json_string_length(value) >= size ||
	    strlen(json_string_value(value)) != json_string_length(value))
		return -EBADMSG;
	memcpy(out, json_string_value(value), json_string_length(value) + 1);
	return 0;
}

static int get_forwards(json_t *array, struct vms_machine_net *out)
{
	size_t count = json_array_size(array);
	int r = 0;

	if (!json_is_array(array) || count > VMS_NET_FORWARDS_MAX)
		return -EBADMSG;
	for (size_t i = 0; !r && i < count; i++)
		r = get_word(json_array_get(array, i), out->forwards[i],
			     sizeof(out->forwards[i]));
	out->forward_count = (unsigned)count;
	return r;
}

int machine_net_get(json_t *document, struct vms_machine_net *out)
{
	json_t *interface = json_object_get(document, "interface");
	json_t *host = json_object_get(document, "host");
	char kind[8];
	int r;

	*out = (struct vms_machine_net){ 0 };
	if (json_is_null(document))
		return 0;
	if (json_object_size(document) != 5 || !json_is_boolean(host) ||
	    get_word(json_object_get(document, "kind"), kind, sizeof(kind)) ||
	    get_word(json_object_get(document, "mac"), out->mac,
		     sizeof(out->mac)))
		return -EBADMSG;
	out->host = json_is_true(host);
	if (!strcmp(kind, kind_names[VMS_NET_USER]))
		out->kind = VMS_NET_USER;
	else if (!strcmp(kind, kind_names[VMS_NET_TAP]))
		out->kind = VMS_NET_TAP;
	else
		return -EBADMSG;
	r = get_forwards(json_object_get(document, "forwards"), out);
	if (r)
		return r;
	/* Each kind has its own. */
	if (out->kind == VMS_NET_USER)
		return json_is_null(interface) ? 0 : -EBADMSG;
	return out->forward_count || out->host
		       ? -EBADMSG
		       : get_word(interface, out->interface,
				  sizeof(out->interface));
}
