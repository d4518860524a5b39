/* SPDX-License-Identifier: Apache-2.0 */
/* See network.h. Of several changes of the link the last one is told: who hears
 * of it wants to know how it is. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "kvm-agent/network.h"

#define WORDS_MAX 128

static void tell(struct loop_work *work)
{
	struct network *network = container_of(work, struct network, work);
	char words[WORDS_MAX];
	bool changed, up;

	pthread_mutex_lock(&network->lock);
	changed = network->changed;
	up = network->up;
	network->changed = false;
	snprintf(words, sizeof(words), "the network is %s: %s",
		 up ? "up" : "down", network->why);
	pthread_mutex_unlock(&network->lock);
	if (changed)
		network->told(network->arg, up, words);
}

static void link_changed(struct net_hooks *hooks, bool up, const char *why)
{
	struct network *network = container_of(hooks, struct network, hooks);

	pthread_mutex_lock(&network->lock);
	network->changed = true;
	network->up = up;
	network->why = why;
	pthread_mutex_unlock(&network->lock);
	loop_post(network->control, &network->work);
}

/* Six pairs of hex digits; not a group's address. */
static int parse_mac(const char *text, uint8_t mac[NET_MAC_SIZE],
		     struct err *err)
{
	const size_t length = 3 * NET_MAC_SIZE - 1;
	unsigned part[NET_MAC_SIZE];

	if (!text || strlen(text) != length ||
	    strspn(text, "0123456789abcdefABCDEF:") != length ||
	    sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x", &part[0], &part[1],
		   &part[2], &part[3], &part[4], &part[5]) != 6 ||
	    part[0] & 1)
		return err_set(err, -EINVAL,
			       "--net-mac: an address like "
			       "52:54:00:12:34:56");
	for (unsigned i = 0; i < NET_MAC_SIZE; i++)
		mac[i] = (uint8_t)part[i];
	return 0;
}

static int parse_mtu(const char *text, uint16_t *out, struct err *err)
{
	unsigned mtu = 0;
	char rest;

	if (text && (strspn(text, "0123456789") != strlen(text) ||
		     sscanf(text, "%5u%c", &mtu, &rest) != 1 ||
		     mtu < NET_MTU_MIN || mtu > UINT16_MAX))
		return err_set(err, -EINVAL, "--net-mtu: from %u to %u",
			       NET_MTU_MIN, UINT16_MAX);
	*out = (uint16_t)mtu;
	return 0;
}

static int open_backend(struct network *network,
			struct network_options *options, struct err *err)
{
	int tap = fd_steal(&options->tap), passt = fd_steal(&options->passt);

	/* Children have nothing to do with it. */
	if (fcntl(tap >= 0 ? tap : passt, F_SETFD, FD_CLOEXEC) < 0)
		return err_sys(err, -errno, "the network");
	return tap >= 0 ? net_tap_new(&network->device.backend, tap, err)
			: net_passt_new(&network->device.backend, passt, err);
}

int network_open(struct network *network, struct network_options *options,
		 struct loop *control,
		 void (*told)(void *arg, bool up, const char *words), void *arg,
		 struct err *err)
{
	int r;

	if (options->tap < 0 && options->passt < 0)
		return 0;
	if (options->tap >= 0 && options->passt >= 0)
		return err_set(err, -EINVAL,
			       "--net-tap-fd or --net-passt-fd, not both");
	r = parse_mac(options->mac, network->device.mac, err);
	if (r == 0)
		r = parse_mtu(options->mtu, &network->device.mtu, err);
	if (r == 0)
		r = open_backend(network, options, err);
	if (r < 0)
		return r;
	network->hooks.link = link_changed;
	network->device.hooks = &network->hooks;
	network->control = control;
	network->work.run = tell;
	network->told = told;
	network->arg = arg;
	pthread_mutex_init(&network->lock, NULL);
	return 0;
}

void network_connect(struct network *network, struct board_options *board)
{
	board->net = network->device;
}

void network_close(struct network *network)
{
	if (!network->device.backend)
		return;
	loop_cancel(network->control, &network->work);
	net_backend_free(network->device.backend);
	network->device.backend = NULL;
	pthread_mutex_destroy(&network->lock);
}
