/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of the board a guest can't find by itself. Goes through the C
 * preprocessor for the numbers of kvm-agent/vm/layout.h, then through iasl.
 * The power button is a fixed one (FADT); processors are in the MADT.
 */
#define LAYOUT_ONLY_NUMBERS
#include "kvm-agent/vm/layout.h"

#define PORTS(first, count) IO (Decode16, first, first, 0, count)

DefinitionBlock ("", "DSDT", 2, "VMSNAP", "VMSNAP  ", 1)
{
	Name (\_S5, Package () { LAYOUT_S5_TYPE, LAYOUT_S5_TYPE, 0, 0 })

	/* Where BARs of 64 bits go: tables.c writes it, since it depends on
	 * the size of RAM. */
	OperationRegion (WNDW, SystemMemory, LAYOUT_ACPI_WINDOW, 16)
	Field (WNDW, DWordAcc, NoLock, Preserve) {
		WMIN, 64,
		WMAX, 64
	}

	Scope (\_SB) {
		Device (PCI0) {
			Name (_HID, EisaId ("PNP0A08"))
			Name (_CID, EisaId ("PNP0A03"))
			Name (_UID, 0)
			Name (_SEG, 0)
			Name (_BBN, 0)

			Name (CRES, ResourceTemplate () {
				WordBusNumber (ResourceProducer, MinFixed,
					MaxFixed, PosDecode, 0, 0, 0, 0, 1)
				PORTS (LAYOUT_PCI_CONFIG, LAYOUT_PCI_CONFIG_SIZE)
				WordIO (ResourceProducer, MinFixed, MaxFixed,
					PosDecode, EntireRange, 0,
					LAYOUT_PORT_WINDOW,
					LAYOUT_PORT_WINDOW_LAST, 0,
					LAYOUT_PORT_WINDOW_SIZE)
				DWordMemory (ResourceProducer, PosDecode,
					MinFixed, MaxFixed, NonCacheable,
					ReadWrite, 0, LAYOUT_WINDOW32,
					LAYOUT_WINDOW32_LAST, 0,
					LAYOUT_WINDOW32_SIZE)
				QWordMemory (ResourceProducer, PosDecode,
					MinFixed, MaxFixed, NonCacheable,
					ReadWrite, 0, 0,
					LAYOUT_WINDOW64_LAST, 0,
					LAYOUT_WINDOW64_SIZE, , , W64)
			})
			Method (_CRS, 0, Serialized) {
				CreateQWordField (CRES, ^W64._MIN, RMIN)
				CreateQWordField (CRES, ^W64._MAX, RMAX)
				RMIN = WMIN
				RMAX = WMAX
				Return (CRES)
			}

			/* The guest may use all that it finds in
			 * configuration space; no feature needs a hand-over. */
			Method (_OSC, 4, NotSerialized) {
				CreateDWordField (Arg3, 0, STAT)
				If (Arg0 == ToUUID
				    ("33db4d5b-1ff7-401c-9657-7441c03dd766")) {
					If (Arg2 > 2) {
						CreateDWordField (Arg3, 8, CTRL)
						If (CTRL) {
							STAT |= 0x10
						}
						CTRL = 0
					}
				} Else {
					STAT |= 4
				}
				Return (Arg3)
			}

/* INTx: pin A of slot 0 is GSI 16, and each slot begins one further. */
#define PIN(slot, pin, gsi) Package () { slot, pin, 0, gsi }
#define SLOT(slot, a, b, c, d) PIN (slot, 0, a), PIN (slot, 1, b), \
	PIN (slot, 2, c), PIN (slot, 3, d)
#define FOUR(s0, s1, s2, s3) SLOT (s0, 16, 17, 18, 19), \
	SLOT (s1, 17, 18, 19, 16), SLOT (s2, 18, 19, 16, 17), \
	SLOT (s3, 19, 16, 17, 18)
			Name (_PRT, Package () {
				FOUR (0x0000ffff, 0x0001ffff, 0x0002ffff, 0x0003ffff),
				FOUR (0x0004ffff, 0x0005ffff, 0x0006ffff, 0x0007ffff),
				FOUR (0x0008ffff, 0x0009ffff, 0x000affff, 0x000bffff),
				FOUR (0x000cffff, 0x000dffff, 0x000effff, 0x000fffff),
				FOUR (0x0010ffff, 0x0011ffff, 0x0012ffff, 0x0013ffff),
				FOUR (0x0014ffff, 0x0015ffff, 0x0016ffff, 0x0017ffff),
				FOUR (0x0018ffff, 0x0019ffff, 0x001affff, 0x001bffff),
				FOUR (0x001cffff, 0x001dffff, 0x001effff, 0x001fffff)
			})
		}

		/* Taken, and not for a driver: ECAM, ACPI's own ports, and the
		 * PS/2 controller, which has only its reset. */
		Device (MRES) {
			Name (_HID, EisaId ("PNP0C02"))
			Name (_UID, 0)
			Name (_CRS, ResourceTemplate () {
				Memory32Fixed (ReadWrite, LAYOUT_ECAM,
					LAYOUT_ECAM_SIZE)
				PORTS (LAYOUT_PM, LAYOUT_PM_SIZE)
				PORTS (LAYOUT_I8042_DATA, 1)
				PORTS (LAYOUT_I8042_COMMAND, 1)
			})
		}

		Device (COM1) {
			Name (_HID, EisaId ("PNP0501"))
			Name (_UID, 1)
			Name (_CRS, ResourceTemplate () {
				PORTS (LAYOUT_COM1, LAYOUT_COM1_SIZE)
				IRQNoFlags () { LAYOUT_IRQ_COM1 }
			})
		}

		Device (RTC0) {
			Name (_HID, EisaId ("PNP0B00"))
			Name (_CRS, ResourceTemplate () {
				PORTS (LAYOUT_RTC, LAYOUT_RTC_SIZE)
				IRQNoFlags () { LAYOUT_IRQ_RTC }
			})
		}

		Device (PANC) {
			Name (_HID, "QEMU0001")
			Name (_STA, 0x0f)
			Name (_CRS, ResourceTemplate () {
				PORTS (LAYOUT_PVPANIC, 1)
			})
		}

		Device (VGEN) {
			Name (_HID, "VMSN0001")
			Name (_CID, Package () { "VMGENCTR", "VM_Gen_Counter" })
			Name (_DDN, "VM_Gen_Counter")
			Name (ADDR, Package () { LAYOUT_VMGENID, 0 })
		}
	}

	Scope (\_GPE) {
		/* LAYOUT_GPE_VMGENID */
		Method (_E00, 0, NotSerialized) {
			Notify (\_SB.VGEN, 0x80)
		}
	}
}
