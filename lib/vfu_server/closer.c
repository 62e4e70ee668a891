/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Closing what a client sent.
 *
 * A descriptor may be of a file that a program of the client's answers for (FUSE), or another
 * machine; and such a file system is asked when it is closed, too, and need not answer. No call
 * closes without asking, so what might wait is closed by a thread that has nothing else to do.
 * What cannot wait is recognised by calls that ask nobody: memory knows seals, sockets their
 * options, pipes their size, and eventfds are what asynchronous I/O takes for them.
 *
 * Few descriptors wait for it, unless one does not come back: then the server takes no more from
 * its client, and none from the next, until it does. It is its own controller that a client blocks
 * so.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vfu_server/server.h"

/* Beyond FULL nothing is received: what one message, those held back and a mapping have fits in. */
enum { FULL = 32, ROOM = 256 };

struct vfus_closer {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	pthread_t thread;
	/* under lock */
	int fd[ROOM];
	unsigned int first, count; /* the first may be being closed */
	bool is_stopping;
	bool is_left; /* the thread frees it */
};

static void closer_free(struct vfus_closer *closer)
{
	pthread_cond_destroy(&closer->wake);
	pthread_mutex_destroy(&closer->lock);
	free(closer);
}

static void close_first(struct vfus_closer *closer)
{
	int fd = closer->fd[closer->first];

	pthread_mutex_unlock(&closer->lock);
	close(fd);
	pthread_mutex_lock(&closer->lock);
	closer->first = (closer->first + 1) % ROOM;
	closer->count--;
}

static void *closer_main(void *arg)
{
	struct vfus_closer *closer = arg;
	bool is_left;

	pthread_mutex_lock(&closer->lock);
	while (closer->count > 0 || !closer->is_stopping) {
		if (closer->count > 0)
			close_first(closer);
		else
			pthread_cond_wait(&closer->wake, &closer->lock);
	}
	is_left = closer->is_left;
	pthread_mutex_unlock(&closer->lock);
	if (is_left)
		closer_free(closer);
	return NULL;
}

int vfus_closer_create(struct vfus_closer **out)
{
	struct vfus_closer *closer = calloc(1, sizeof(*closer));
	sigset_t all, before;
	int rc;

	if (!closer)
		return -ENOMEM;
	pthread_mutex_init(&closer->lock, NULL);
	pthread_cond_init(&closer->wake, NULL);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = -pthread_create(&closer->thread, NULL, closer_main, closer);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc != 0) {
		closer_free(closer);
		return rc;
	}
	pthread_setname_np(closer->thread, "bh-close");
	*out = closer;
	return 0;
}

void vfus_closer_destroy(struct vfus_closer *closer)
{
	bool is_left;

	if (!closer)
		return;
	pthread_mutex_lock(&closer->lock);
	closer->is_stopping = true;
	/* Nobody waits for one that may never come back. */
	is_left = closer->is_left = closer->count > 0;
	if (is_left)
		pthread_detach(closer->thread);
	pthread_cond_signal(&closer->wake);
	pthread_mutex_unlock(&closer->lock);
	if (is_left)
		return;
	pthread_join(closer->thread, NULL);
	closer_free(closer);
}

static bool may_wait(const struct bh_vfu_server *s, int fd)
{
	socklen_t len = sizeof(int);
	int type;

	return fcntl(fd, F_GET_SEALS) < 0 && fcntl(fd, F_GETPIPE_SZ) < 0 &&
	       getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 &&
	       !vfus_is_eventfd(&s->irqs.signaller, fd);
}

void vfus_close(void *ctx, int fd)
{
	struct bh_vfu_server *s = ctx;
	struct vfus_closer *closer = s->closer;
	bool has_room;

	if (!closer || !may_wait(s, fd)) {
		close(fd);
		return;
	}
	pthread_mutex_lock(&closer->lock);
	has_room = closer->count < ROOM;
	if (has_room)
		closer->fd[(closer->first + closer->count++) % ROOM] = fd;
	pthread_cond_signal(&closer->wake);
	pthread_mutex_unlock(&closer->lock);
	if (!has_room) /* kept open: that costs a number, not the thread */
		bh_log(s->log, BH_LOG_WARN, VFUS_LOG, "%s: a descriptor is left open", s->path);
}

bool vfus_closer_is_full(const struct bh_vfu_server *s)
{
	struct vfus_closer *closer = s->closer;
	bool is_full;

	pthread_mutex_lock(&closer->lock);
	is_full = closer->count >= FULL;
	pthread_mutex_unlock(&closer->lock);
	return is_full;
}
