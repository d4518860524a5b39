/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What surrounds a swap of the base, so that the pins come out right wherever
 * it ends. A note with both bases goes before the new pin, and after it comes
 * the swap. Then the head says which of both pins is to stay, and the other
 * goes; whoever finds a note does this first. No pin goes that the note does
 * not name, and none as long as the head may be another after a loss of power:
 * after a sync that failed it may, until the next seal has written it anew.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmsnap/live.h"

unsigned live_sabotage;

int live_swap_begin(struct vms_live *live, uint64_t layer,
		    const struct volume *volume, const struct id *snapshot,
		    struct image_base_info *info, struct err *err)
{
	int r = random_fill(info->pin, sizeof(info->pin), err);

	if (!r && !(live_sabotage & LIVE_SABOTAGE_NO_NOTE))
		r = image_write_swap_note(live->io, live->path, layer, info,
					  err);
	if (!r)
		r = live_pin_put_as(live->vms, live->path, volume, snapshot,
				    info->pin, err);
	return r;
}

/* A pin that the head does not name. */
static int drop_pin(struct vms *vms, const struct image_base_info *head,
		    const struct image_base_info *noted, struct err *err)
{
	const struct store_config *config = store_config(vms->store);

	if (!noted->present ||
	    (head->present &&
	     !memcmp(head->pin, noted->pin, sizeof(head->pin))) ||
	    memcmp(noted->store_id, config->store.b, sizeof(noted->store_id)))
		return 0;
	return live_pin_delete(vms, noted, err);
}

int live_swap_forget(struct vms *vms, const struct image_swap_note *note,
		     struct err *err)
{
	static const struct image_base_info none;
	int r = drop_pin(vms, &none, &note->from, err);

	return r ? r : drop_pin(vms, &none, &note->to, err);
}

int live_swap_end(struct vms *vms, struct vs_io *io, const char *path,
		  struct err *err)
{
	struct image_swap_note note;
	struct image_base_info head;
	uint8_t id[16];
	int r = image_read_swap_note(io, path, &note, err);

	if (r == -ENOENT)
		return 0;
	/* One that is not whole, or another image's, names nothing of ours. */
	if (r == -EBADMSG || r == -EOPNOTSUPP)
		return image_remove_swap_note(io, path, err);
	if (!r)
		r = image_read_identity(io, path, id, &head, err);
	if (r)
		return r;
	if (!memcmp(id, note.id, sizeof(id))) {
		r = drop_pin(vms, &head, &note.from, err);
		if (!r)
			r = drop_pin(vms, &head, &note.to, err);
	}
	return r ? r : image_remove_swap_note(io, path, err);
}

void live_swap_tidy(struct vms_live *live,
		    void (*warn)(void *arg, const char *text), void *warn_arg)
{
	char text[ERR_TEXT_MAX + 96];
	struct err why = { 0 };

	if (!live_swap_end(live->vms, live->io, live->path, &why) || !warn)
		return;
	snprintf(text, sizeof(text),
		 "a pin that is not needed any more is left in the store: %s",
		 why.text);
	warn(warn_arg, text);
}

int live_base_swap(struct vms_live *live, uint64_t layer,
		   const struct image_base_info *info, struct image_base *base,
		   void (*warn)(void *arg, const char *text), void *warn_arg,
		   struct err *err)
{
	int r = image_swap_base(live->image, layer, info, base, err);

	if (r)
		return r;
	live->info = *info;
	live_swap_tidy(live, warn, warn_arg);
	return 0;
}
