# SPDX-License-Identifier: Apache-2.0
# A bzImage that says its command line and its initrd, and powers off, or stays
# there: make_bzimage FILE [stays].
make_bzimage() {
cat >guest.S <<'GUEST'
	.text
entry:
	movl 0x202(%rsi), %eax		/* the zero page: HdrS */
	cmpl $0x53726448, %eax
	jne stop
	movl $0x3f8, %edx
	movl 0x228(%rsi), %ebx		/* the command line */
1:	movb (%rbx), %al
	testb %al, %al
	jz 2f
	outb %al, %dx
	incq %rbx
	jmp 1b
2:	movb $' ', %al
	outb %al, %dx
	movl 0x21c(%rsi), %ecx		/* the initrd */
	movl 0x218(%rsi), %esi
3:	lodsb
	outb %al, %dx
	loop 3b
	pushq $0x10			/* the descriptors: CS again */
	leaq 4f(%rip), %rax
	pushq %rax
	lretq
4:	movb $'\n', %al
	outb %al, %dx
	.ifdef STAYS
5:	hlt
	jmp 5b
	.endif
	movl $0x604, %edx
	movw $5 << 10 | 1 << 13, %ax
	outw %ax, %dx
stop:	jmp stop
GUEST
gcc -c ${2:+-Wa,--defsym,STAYS=1} -o guest.o guest.S
objcopy -O binary -j .text guest.o guest.bin
python3 - <<'MAKE'
import struct
b = bytearray(3 * 512 + 0x200) + open("guest.bin", "rb").read()
b[0x1f1] = 2
b[0x1fe:0x208] = b"\x55\xaa\xeb\x6aHdrS\x0f\x02"
b[0x211] = 1
struct.pack_into("<IIB", b, 0x22c, 0x7fffffff, 0x200000, 1)
b[0x236] = 1
struct.pack_into("<I", b, 0x238, 2047)
struct.pack_into("<QI", b, 0x258, 0x1000000, 0x400000)
open("made", "wb").write(b)
MAKE
mv made "$1"
}
