/* SPDX-License-Identifier: Apache-2.0 */
/* libvmsnap-format: ids, chunks, trees, packs, tables, stores and their
 * backends. The public header of format/; what it does not include is private. */
#ifndef VMSNAP_FORMAT_H
#define VMSNAP_FORMAT_H

#include "format/base/base.h"
#include "format/base/base64.h"
#include "format/base/bytes.h"
#include "format/base/err.h"
#include "format/base/io.h"
#include "format/base/lines.h"
#include "format/base/loop.h"
#include "format/base/pool.h"
#include "format/base/socket.h"
#include "format/image/image.h"
#include "format/store/backend.h"
#include "format/store/store.h"
#include "format/store/tree.h"

#endif
