/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From PVH's 32-bit entry to guest_main() in 64-bit mode: page tables that map
 * the first 4 GiB one to one (for ring 3 too), descriptors, traps. And the way
 * into ring 3 and back.
 */
#define CODE64     0x08
#define DATA       0x10
#define USER_CODE  0x2b /* 0x28, ring 3 */
#define USER_DATA  0x23 /* 0x20, ring 3 */
#define TSS        0x30

	.section .note.pvh, "a"
	.long 4, 4, 18
	.asciz "Xen"
	.long guest_start

	.text
	.code32
	.globl guest_start
guest_start:
	movl %ebx, guest_info
	movl $guest_stack_end, %esp
	movl $after_first, %ebp
	jmp to_long_mode

/* Others than the first come here from their trampoline. */
	.globl guest_start_other
guest_start_other:
	movl $guest_other_stack_end, %esp
	movl $after_other, %ebp
	jmp to_long_mode

/* Goes on at %ebp. */
to_long_mode:
	lgdt gdt_pointer
	movl $0x620, %eax		/* PAE, OSFXSR, OSXMMEXCPT */
	movl %eax, %cr4
	movl $guest_pml4, %eax
	movl %eax, %cr3
	movl $0xc0000080, %ecx		/* EFER: LME, SCE */
	movl $0x101, %eax
	xorl %edx, %edx
	wrmsr
	movl $0x80010033, %eax		/* PG, WP, NE, ET, MP, PE */
	movl %eax, %cr0
	ljmp $CODE64, $long_mode

	.code64
long_mode:
	movl $DATA, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	xorl %eax, %eax
	movl %eax, %fs
	movl %eax, %gs
	movl %ebp, %ebp
	jmp *%rbp

after_first:
	lidt idt_pointer
	call guest_init
	movl $TSS, %eax
	ltr %ax
	movl guest_info, %edi
	call guest_main
	ud2

after_other:
	lidt idt_pointer
	call guest_other_main
1:	cli
	hlt
	jmp 1b

/* The trampoline of the other processors: copied below 1 MiB. */
	.code16
	.globl guest_trampoline, guest_trampoline_end
guest_trampoline:
	cli
	xorw %ax, %ax
	movw %ax, %ds
	lgdtl guest_trampoline_gdt - guest_trampoline + 0x8000
	movl %cr0, %eax
	orl $1, %eax
	movl %eax, %cr0
	ljmpl $0x18, $(trampoline32 - guest_trampoline + 0x8000)
	.code32
trampoline32:
	movl $DATA, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl $guest_start_other, %eax
	jmp *%eax
	.balign 4
guest_trampoline_gdt:
	.word gdt_end - gdt - 1
	.long gdt
guest_trampoline_end:
	.code64

/* ---- traps ---- */

/* One of 16 bytes for each vector; where the processor pushes no error code,
 * a 0 stands for it. */
	.balign 16
	.globl guest_stubs
guest_stubs:
	.set vector, 0
	.rept 256
	.balign 16
	.if vector == 8 || (vector >= 10 && vector <= 14) || vector == 17
	.else
	pushq $0
	.endif
	pushq $vector
	jmp enter_trap
	.set vector, vector + 1
	.endr

enter_trap:
	pushq %rax
	pushq %rbx
	pushq %rcx
	pushq %rdx
	pushq %rsi
	pushq %rdi
	pushq %rbp
	pushq %r8
	pushq %r9
	pushq %r10
	pushq %r11
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	cld
	movq %rsp, %rdi
	call guest_trap
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %r11
	popq %r10
	popq %r9
	popq %r8
	popq %rbp
	popq %rdi
	popq %rsi
	popq %rdx
	popq %rcx
	popq %rbx
	popq %rax
	addq $16, %rsp
	iretq

/* ---- ring 3 ---- */

/* uint64_t run_user(uint64_t (*function)(uint64_t), uint64_t argument):
 * with interrupts on; comes back when the function returns. */
	.globl run_user
run_user:
	pushq %rbx
	pushq %rbp
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	movq %rsp, kernel_stack
	movq %rdi, %rax
	movq %rsi, %rdi
	movq $user_done, guest_user_stack_end - 8
	pushq $USER_DATA
	pushq $guest_user_stack_end - 8
	pushq $0x202
	pushq $USER_CODE
	pushq %rax
	iretq
/* Where the function returns to. A trap is the way out that every KVM has:
 * some know neither INT n nor SYSCALL of a guest whose ring 0 they interpret. */
user_done:
	movq %rax, %rdi
	.globl guest_leave_user
guest_leave_user:
	ud2
/* In ring 0 again, by guest_trap(): %rdi is the result. */
	.globl back_from_user
back_from_user:
	movq %rdi, %rax
	movq kernel_stack, %rsp
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbp
	popq %rbx
	ret

/* ---- data ---- */

	.data
	.balign 16
gdt:
	.quad 0
	.quad 0x00af9b000000ffff	/* 0x08: code of 64 bits */
	.quad 0x00cf93000000ffff	/* 0x10: data */
	.quad 0x00cf9b000000ffff	/* 0x18: code of 32 bits */
	.quad 0x00cff3000000ffff	/* 0x20: data, ring 3 */
	.quad 0x00affb000000ffff	/* 0x28: code of 64 bits, ring 3 */
	.globl guest_tss_descriptor
guest_tss_descriptor:
	.quad 0, 0			/* 0x30: by guest_init() */
gdt_end:
	.globl gdt_pointer
gdt_pointer:
	.word gdt_end - gdt - 1
	.quad gdt
	.globl idt_pointer
idt_pointer:
	.word 256 * 16 - 1
	.quad guest_idt
guest_info:
	.long 0
	.balign 8
	.globl kernel_stack
kernel_stack:
	.quad 0

/* Present, writable, for ring 3; the leaves are of 2 MiB. */
	.balign 4096
	.globl guest_pml4, guest_pdpt
guest_pml4:
	.quad guest_pdpt + 7
	.fill 511, 8, 0
guest_pdpt:
	.quad pages + 0x0007, pages + 0x1007, pages + 0x2007, pages + 0x3007
	.fill 508, 8, 0
pages:
	.set page, 0
	.rept 2048
	.quad page * 0x200000 + 0x87
	.set page, page + 1
	.endr

	.bss
	.balign 4096
	.globl guest_idt
guest_idt:
	.skip 4096
	.skip 16384
guest_stack_end:
	.skip 16384
	.globl guest_trap_stack_end
guest_trap_stack_end:
	.skip 16384
guest_other_stack_end:
	.skip 16384
	.globl guest_user_stack_end
guest_user_stack_end:

	.section .note.GNU-stack, "", @progbits
