/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMSNAP_VERSION_H
#define VMSNAP_VERSION_H

#define VMSNAP_VERSION "0.1"

#endif
