/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the board that are on PCI: for board.c's list. */
#ifndef KVM_AGENT_BOARD_VIRTIO_H
#define KVM_AGENT_BOARD_VIRTIO_H

#include "kvm-agent/board.h"

int board_make_pci(struct board *board, struct err *err);
void board_drop_pci(struct board *board);
int board_make_rng(struct board *board, struct err *err);
void board_drop_rng(struct board *board);
int board_make_net(struct board *board, struct err *err);
void board_drop_net(struct board *board);
int board_make_disks(struct board *board, struct err *err);
void board_drop_disks(struct board *board);
int board_make_console(struct board *board, struct err *err);
void board_drop_console(struct board *board);
int board_make_balloon(struct board *board, struct err *err);
void board_drop_balloon(struct board *board);
int board_make_vsock(struct board *board, struct err *err);
void board_drop_vsock(struct board *board);

#endif
