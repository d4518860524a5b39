/* SPDX-License-Identifier: Apache-2.0 */
/* What the tiny guests share; guest.h. Runs in ring 0 but where it says so. */
#include <stdarg.h>

#define LAYOUT_ONLY_NUMBERS
#include "kvm-agent/vm/layout.h"
#include "tests/kvm/guest/guest.h"

#define COM1      0x3f8
#define IOAPIC    0xfec00000ull
#define LINE_MAX  256
#define KERNEL_CS 0x08
#define KERNEL_SS 0x10

struct gate {
	uint16_t offset_low, selector;
	uint8_t stack, type;
	uint16_t offset_middle;
	uint32_t offset_high, reserved;
};

struct tss {
	uint32_t reserved;
	uint32_t stacks[2 * 3]; /* halves: structs of odd alignment */
	uint32_t rest[19];
};

extern struct gate guest_idt[256];
extern uint8_t guest_stubs[256][16];
extern uint64_t guest_tss_descriptor[2];
extern char guest_trap_stack_end[], back_from_user[];
extern char guest_leave_user[];
extern uint64_t kernel_stack, guest_pdpt[512];
extern char guest_trampoline[], guest_trampoline_end[];
void guest_init(void);
void guest_trap(struct frame *frame);

static struct tss tss;
static trap_fn *handlers[256];

/* The compiler calls these. */
void *memset(void *to, int value, size_t size);
void *memcpy(void *to, const void *from, size_t size);

void *memset(void *to, int value, size_t size)
{
	void *at = to;

	__asm__ volatile("rep stosb"
			 : "+D"(at), "+c"(size)
			 : "a"(value)
			 : "memory");
	return to;
}

void *memcpy(void *to, const void *from, size_t size)
{
	void *at = to;

	__asm__ volatile("rep movsb"
			 : "+D"(at), "+S"(from), "+c"(size)::"memory");
	return to;
}

/* ---- talking ---- */

struct line {
	char text[LINE_MAX];
	unsigned length;
};

static void put(struct line *line, char c)
{
	if (line->length < LINE_MAX - 1)
		line->text[line->length++] = c;
}

static void put_number(struct line *line, uint64_t value, unsigned base)
{
	char digits[20];
	unsigned count = 0;

	do {
		digits[count++] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	while (count)
		put(line, digits[--count]);
}

static const char *put_field(struct line *line, const char *at, va_list *args)
{
	bool wide = *at == 'l';
	int64_t value;

	if (wide)
		at++;
	switch (*at) {
	case 's':
		for (const char *s = va_arg(*args, const char *); *s; s++)
			put(line, *s);
		break;
	case 'd':
		value = wide ? va_arg(*args, long) : va_arg(*args, int);
		if (value < 0)
			put(line, '-');
		put_number(line, (uint64_t)(value < 0 ? -value : value), 10);
		break;
	case 'u':
	case 'x':
		put_number(line,
			   wide ? va_arg(*args, unsigned long)
				: va_arg(*args, unsigned),
			   *at == 'x' ? 16 : 10);
		break;
	default:
		put(line, *at);
	}
	return at + 1;
}

static void say_args(const char *format, va_list *args)
{
	struct line line = { .length = 0 };
	const char *text = line.text;
	unsigned long left;

	while (*format) {
		if (*format == '%')
			format = put_field(&line, format + 1, args);
		else
			put(&line, *format++);
	}
	line.text[line.length++] = '\n';
	left = line.length;
	__asm__ volatile("rep outsb"
			 : "+S"(text), "+c"(left)
			 : "d"(COM1)
			 : "memory");
}

void say(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say_args(format, &args);
	va_end(args);
}

/* A triple fault: no way to handle a trap is left. */
void guest_shut_down(void)
{
	static const struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) none = { 0, 0 };

	__asm__ volatile("cli; lidt %0; ud2" ::"m"(none));
	for (;;)
		;
}

void guest_end_well(void)
{
	say("done");
	/* ACPI's S5. The processor runs on until it is stopped. */
	out16(LAYOUT_PM + LAYOUT_PM1_CONTROL, LAYOUT_S5_TYPE << 10 | 1u << 13);
	for (;;)
		__asm__ volatile("cli; hlt");
}

void guest_fail(const char *format, ...)
{
	va_list args;

	say("FAILED:");
	va_start(args, format);
	say_args(format, &args);
	va_end(args);
	guest_shut_down();
}

/* ---- traps ---- */

void trap_set(unsigned vector, trap_fn *handler)
{
	handlers[vector] = handler;
}

#define TRAP_INVALID 6

/* run_user()'s function has returned: go on behind run_user(). */
static void leave_user(struct frame *frame)
{
	frame->rip = (uint64_t)back_from_user;
	frame->cs = KERNEL_CS;
	frame->ss = KERNEL_SS;
	frame->rflags = 2;
	frame->rsp = kernel_stack;
}

void guest_trap(struct frame *frame)
{
	trap_fn *handler = handlers[frame->vector];
	uint64_t address;

	if (frame->vector == TRAP_INVALID &&
	    frame->rip == (uint64_t)guest_leave_user) {
		leave_user(frame);
		return;
	}
	if (handler) {
		handler(frame);
		return;
	}
	__asm__ volatile("mov %%cr2, %0" : "=r"(address));
	guest_fail("trap %lu, error 0x%lx, at 0x%lx of cs 0x%lx, cr2 0x%lx",
		   frame->vector, frame->error, frame->rip, frame->cs, address);
}

void guest_init(void)
{
	uint64_t base = (uint64_t)&tss, stack = (uint64_t)guest_trap_stack_end;

	for (unsigned i = 0; i < 256; i++) {
		uint64_t offset = (uint64_t)guest_stubs[i];

		guest_idt[i] = (struct gate){
			.offset_low = (uint16_t)offset,
			.selector = KERNEL_CS,
			.type = 0x8e,
			.offset_middle = (uint16_t)(offset >> 16),
		};
	}
	tss.stacks[0] = (uint32_t)stack;
	tss.stacks[1] = (uint32_t)(stack >> 32);
	guest_tss_descriptor[0] = (sizeof(tss) - 1) | (base & 0xffffff) << 16 |
				  0x89ull << 40 | (base >> 24 & 0xff) << 56;
	guest_tss_descriptor[1] = base >> 32;
}

/* ---- interrupts ---- */

void lapic_init(void)
{
	out8(0x21, 0xff);
	out8(0xa1, 0xff);
	mmio_write32(LAPIC + LAPIC_SPURIOUS, 0x1ff);
}

/* Bit 0: KVM takes the next end of an interrupt from here, when it looks. */
static uint32_t eoi_word;

void lapic_eoi_by_memory(void)
{
	write_msr(MSR_KVM_PV_EOI, (uint64_t)&eoi_word | 1);
}

void lapic_eoi(void)
{
	bool taken;

	__asm__ volatile("btrl $0, %0"
			 : "+m"(eoi_word), "=@ccc"(taken)::"memory");
	if (!taken)
		mmio_write32(LAPIC + LAPIC_EOI, 0);
}

void lapic_timer(uint32_t entry, uint32_t count)
{
	mmio_write32(LAPIC + LAPIC_DIVIDE, 2);
	mmio_write32(LAPIC + LAPIC_TIMER, entry);
	mmio_write32(LAPIC + LAPIC_INITIAL, count);
}

void lapic_send(unsigned id, unsigned vector)
{
	mmio_write32(LAPIC + LAPIC_ICR_HIGH, id << 24);
	mmio_write32(LAPIC + LAPIC_ICR, 1u << 14 | vector);
}

/* As guest_trampoline is written for. */
#define TRAMPOLINE 0x8000ull

void lapic_start_other(unsigned id)
{
	memcpy((void *)TRAMPOLINE, guest_trampoline,
	       (size_t)(guest_trampoline_end - guest_trampoline));
	mmio_write32(LAPIC + LAPIC_ICR_HIGH, id << 24);
	mmio_write32(LAPIC + LAPIC_ICR, 0xc500);
	mmio_write32(LAPIC + LAPIC_ICR_HIGH, id << 24);
	mmio_write32(LAPIC + LAPIC_ICR, 0x4600 | TRAMPOLINE >> 12);
}

void ioapic_route(unsigned pin, unsigned vector)
{
	mmio_write32(IOAPIC, 0x11 + 2 * pin);
	mmio_write32(IOAPIC + 0x10, 0);
	mmio_write32(IOAPIC, 0x10 + 2 * pin);
	mmio_write32(IOAPIC + 0x10, vector);
}

void pit_start(unsigned hz)
{
	unsigned divisor = 1193182 / hz;

	out8(0x43, 0x34);
	out8(0x40, (uint8_t)divisor);
	out8(0x40, (uint8_t)(divisor >> 8));
}

/* ---- memory ---- */

#define GIB_SHIFT 30
#define HIGH_MAX  4

void map_memory(uint64_t start, uint64_t end)
{
	static uint64_t tables[HIGH_MAX][512] __attribute__((aligned(4096)));
	uint64_t first = start >> GIB_SHIFT, last = (end - 1) >> GIB_SHIFT;

	for (uint64_t gib = first < 4 ? 4 : first; gib <= last; gib++) {
		CHECK(gib < 4 + HIGH_MAX);
		for (unsigned i = 0; i < 512; i++)
			tables[gib - 4][i] =
				(gib << GIB_SHIFT | i << 21) | 0x87;
		guest_pdpt[gib] = (uint64_t)tables[gib - 4] | 7;
	}
}

/* ---- what the guest was told ---- */

const char *cmdline(const struct start_info *info)
{
	return (const char *)info->cmdline;
}

bool cmdline_has(const struct start_info *info, const char *word)
{
	const char *at = cmdline(info);

	while (*at) {
		const char *w = word;

		while (*w && *at == *w) {
			at++;
			w++;
		}
		if (!*w && (!*at || *at == ' '))
			return true;
		while (*at && *at != ' ')
			at++;
		while (*at == ' ')
			at++;
	}
	return false;
}

__attribute__((weak)) void guest_other_main(void)
{
}
