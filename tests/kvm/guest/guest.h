/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tiny guests share: ports and registers, the serial port, traps,
 * ring 3, interrupts. A guest is one file with guest_main(); it says what it
 * finds, line by line, and ends with guest_end_well() or guest_fail().
 *
 * Ring 0 may be interpreted, at some million instructions a second, and knows
 * neither SSE nor LOCK CMPXCHG16B, XSAVE or INT3 there: what is heavy runs in
 * ring 3, by run_user().
 */
#ifndef TESTS_KVM_GUEST_GUEST_H
#define TESTS_KVM_GUEST_GUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- the processor ---- */

static inline void out8(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" ::"a"(value), "Nd"(port));
}

static inline void out16(uint16_t port, uint16_t value)
{
	__asm__ volatile("outw %0, %1" ::"a"(value), "Nd"(port));
}

static inline void out32(uint16_t port, uint32_t value)
{
	__asm__ volatile("outl %0, %1" ::"a"(value), "Nd"(port));
}

static inline uint8_t in8(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline uint32_t in32(uint16_t port)
{
	uint32_t value;

	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline uint32_t mmio_read32(uint64_t address)
{
	uint32_t value;

	__asm__ volatile("movl (%1), %0"
			 : "=r"(value)
			 : "r"(address)
			 : "memory");
	return value;
}

static inline void mmio_write32(uint64_t address, uint32_t value)
{
	__asm__ volatile("movl %0, (%1)" ::"r"(value), "r"(address) : "memory");
}

static inline uint64_t read_msr(uint32_t msr)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
	return (uint64_t)high << 32 | low;
}

static inline void write_msr(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr" ::"c"(msr), "a"((uint32_t)value),
			 "d"((uint32_t)(value >> 32)));
}

static inline uint64_t read_tsc(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

struct cpuid {
	uint32_t eax, ebx, ecx, edx;
};

static inline struct cpuid cpuid(uint32_t leaf, uint32_t index)
{
	struct cpuid c;

	__asm__ volatile("cpuid"
			 : "=a"(c.eax), "=b"(c.ebx), "=c"(c.ecx), "=d"(c.edx)
			 : "a"(leaf), "c"(index));
	return c;
}

static inline void irq_on(void)
{
	__asm__ volatile("sti" ::: "memory");
}

static inline void irq_off(void)
{
	__asm__ volatile("cli" ::: "memory");
}

/* Sleeps until an interrupt; none is lost between the two instructions. */
static inline void irq_wait(void)
{
	__asm__ volatile("sti; hlt; cli" ::: "memory");
}

/* ---- talking ---- */

/* %s %u %d %x (unsigned, hexadecimal; l for 64 bits), %%; one line at a time
 * goes out as one string of OUTS. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Says so, and ends the machine: power off, the last line is "done". */
void guest_end_well(void) __attribute__((noreturn));
/* A triple fault. */
void guest_shut_down(void) __attribute__((noreturn));
void guest_fail(const char *format, ...)
	__attribute__((noreturn, format(printf, 1, 2)));

#define CHECK(condition)                                                    \
	do {                                                                \
		if (!(condition))                                           \
			guest_fail("%s:%d: not so: %s", __FILE__, __LINE__, \
				   #condition);                             \
	} while (0)

/* ---- traps and interrupts ---- */

struct frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
	uint64_t rbp, rdi, rsi, rdx, rcx, rbx, rax;
	uint64_t vector, error;
	uint64_t rip, cs, rflags, rsp, ss;
};

typedef void trap_fn(struct frame *frame);
/* Unset: the guest fails. */
void trap_set(unsigned vector, trap_fn *handler);

#define LAPIC          0xfee00000ull
#define LAPIC_ID       0x020
#define LAPIC_EOI      0x0b0
#define LAPIC_SPURIOUS 0x0f0
#define LAPIC_ICR      0x300
#define LAPIC_ICR_HIGH 0x310
#define LAPIC_TIMER    0x320
#define LAPIC_INITIAL  0x380
#define LAPIC_CURRENT  0x390
#define LAPIC_DIVIDE   0x3e0
#define LAPIC_PERIODIC (1u << 17)

/* Switches the LAPIC on and masks the PICs. */
void lapic_init(void);
void lapic_eoi(void);
/* From here on most ends of interrupts need no exit, as stock Linux has it;
 * MSR_KVM_PV_EOI_EN of KVM's own MSRs. */
#define MSR_KVM_PV_EOI 0x4b564d04u
void lapic_eoi_by_memory(void);
/* The timer's entry in the table of vectors, and its count at an eighth of the
 * bus clock. */
#define LAPIC_MASKED (1u << 16)
void lapic_timer(uint32_t entry, uint32_t count);
/* An interrupt to another processor. */
void lapic_send(unsigned id, unsigned vector);
/* INIT and SIPI: guest_other_main() runs on it. */
void lapic_start_other(unsigned id);
/* A pin of the IOAPIC to a vector of the first processor; edge. */
#define IOAPIC_MASKED (1u << 16)
void ioapic_route(unsigned pin, unsigned vector);
/* The PIT's channel 0, periodic, at so many Hz. */
void pit_start(unsigned hz);

/* ---- memory ---- */

/* Mapped one to one, for ring 3 too; at most 4 GiB behind the first 4. */
void map_memory(uint64_t start, uint64_t end);

/* ---- ring 3 ---- */

uint64_t run_user(uint64_t (*function)(uint64_t), uint64_t argument);

/* ---- what the guest was told ---- */

struct start_info {
	uint32_t magic, version, flags, module_count;
	uint64_t modules, cmdline, rsdp, map;
	uint32_t map_count, reserved;
};

struct start_module {
	uint64_t address, size, cmdline, reserved;
};

struct start_range {
	uint64_t start, size;
	uint32_t kind, reserved;
};

const char *cmdline(const struct start_info *info);
/* Does the command line have this word? */
bool cmdline_has(const struct start_info *info, const char *word);

extern char guest_end[];

/* The guest. */
void guest_main(const struct start_info *info);
/* What the other processors run; a guest of one has it from the library. */
void guest_other_main(void);

#endif
