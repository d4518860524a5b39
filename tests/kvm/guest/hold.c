/* SPDX-License-Identifier: Apache-2.0 */
/*
 * While it spins no register is free to count with: the counter is in memory.
 * What was found is compared when the registers are the compiler's again.
 */
#include "tests/kvm/guest/guest.h"
#include "tests/kvm/guest/hold.h"

struct hold {
	uint64_t general[15]; /* all but RSP */
	uint64_t sse[32];
	uint64_t x87[4 * 2]; /* of 10 bytes each */
	uint32_t mxcsr;
	uint32_t control;
};

uint64_t hold_count, hold_stack;
struct hold hold_set, hold_found;
void hold_spin(void);

/* clang-format off */
__asm__(
	".text\n"
	".globl hold_spin\n"
	"hold_spin:\n"
	"	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
	"	mov %rsp, hold_stack\n"
	"	ldmxcsr hold_set + 120 + 256 + 64\n"
	"	fninit\n"
	"	fldcw hold_set + 120 + 256 + 68\n"
	"	fldt hold_set + 120 + 256\n"
	"	fldt hold_set + 120 + 256 + 16\n"
	"	fldt hold_set + 120 + 256 + 32\n"
	"	fldt hold_set + 120 + 256 + 48\n"
	"	.irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n"
	"	movdqu hold_set + 120 + 16 * \\n, %xmm\\n\n"
	"	.endr\n"
	"	mov hold_set + 0, %rax; mov hold_set + 8, %rbx\n"
	"	mov hold_set + 16, %rcx; mov hold_set + 24, %rdx\n"
	"	mov hold_set + 32, %rsi; mov hold_set + 40, %rdi\n"
	"	mov hold_set + 48, %rbp; mov hold_set + 56, %r8\n"
	"	mov hold_set + 64, %r9; mov hold_set + 72, %r10\n"
	"	mov hold_set + 80, %r11; mov hold_set + 88, %r12\n"
	"	mov hold_set + 96, %r13; mov hold_set + 104, %r14\n"
	"	mov hold_set + 112, %r15\n"
	"1:	decq hold_count\n"
	"	jnz 1b\n"
	"	mov %rax, hold_found + 0; mov %rbx, hold_found + 8\n"
	"	mov %rcx, hold_found + 16; mov %rdx, hold_found + 24\n"
	"	mov %rsi, hold_found + 32; mov %rdi, hold_found + 40\n"
	"	mov %rbp, hold_found + 48; mov %r8, hold_found + 56\n"
	"	mov %r9, hold_found + 64; mov %r10, hold_found + 72\n"
	"	mov %r11, hold_found + 80; mov %r12, hold_found + 88\n"
	"	mov %r13, hold_found + 96; mov %r14, hold_found + 104\n"
	"	mov %r15, hold_found + 112\n"
	"	.irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n"
	"	movdqu %xmm\\n, hold_found + 120 + 16 * \\n\n"
	"	.endr\n"
	"	fstpt hold_found + 120 + 256 + 48\n"
	"	fstpt hold_found + 120 + 256 + 32\n"
	"	fstpt hold_found + 120 + 256 + 16\n"
	"	fstpt hold_found + 120 + 256\n"
	"	stmxcsr hold_found + 120 + 256 + 64\n"
	"	fnstcw hold_found + 120 + 256 + 68\n"
	"	mov hold_stack, %rsp\n"
	"	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
	"	ret\n");
/* clang-format on */

_Static_assert(offsetof(struct hold, sse) == 120, "as in hold_spin");
_Static_assert(offsetof(struct hold, mxcsr) == 120 + 256 + 64,
	       "as in hold_spin");

static void choose(uint64_t seed)
{
	for (unsigned i = 0; i < 15; i++)
		hold_set.general[i] = seed * 0x9e3779b97f4a7c15 + i;
	for (unsigned i = 0; i < 32; i++)
		hold_set.sse[i] = ~seed * 0xbf58476d1ce4e5b9 + i;
	/* Normal numbers: their first bit is set. */
	for (unsigned i = 0; i < 4; i++) {
		hold_set.x87[2 * i] = 1ull << 63 | (seed * 31 + i);
		hold_set.x87[2 * i + 1] = 0x3fff + i;
	}
	hold_set.mxcsr = 0x1f80 | (uint32_t)(seed & 3) << 13;
	hold_set.control = 0x37f | (uint32_t)(seed & 3) << 10;
}

static bool same(const uint64_t *a, const uint64_t *b, unsigned count)
{
	uint64_t differs = 0;

	for (unsigned i = 0; i < count; i++)
		differs |= a[i] ^ b[i];
	return !differs;
}

uint64_t hold_registers(uint64_t count)
{
	static uint64_t seed;
	uint64_t wrong = 0;

	choose(++seed);
	hold_count = count;
	hold_spin();
	if (!same(hold_set.general, hold_found.general, 15))
		wrong |= 1;
	if (!same(hold_set.sse, hold_found.sse, 32))
		wrong |= 2;
	if (hold_set.mxcsr != hold_found.mxcsr)
		wrong |= 4;
	if (!same(hold_set.x87, hold_found.x87, 8))
		wrong |= 8;
	if (hold_set.control != hold_found.control)
		wrong |= 16;
	return wrong;
}
