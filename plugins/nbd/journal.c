/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What was acknowledged and not flushed yet.
 *
 * A server that ends may take with it whatever it had acknowledged and not made durable; the next
 * one, asked for a flush, would acknowledge that too, and a host that has had its flush relies on
 * its data. So writes are kept here until a flush that was sent after their acknowledgement has
 * come back, and are sent again, in that order, over a connection that replaces a lost one, before
 * anything else is.
 */
#include <stdlib.h>

#include "nbd.h"

#define WRITE_COST 128u

void nbd_journal_init(struct nbd_journal *journal)
{
	TAILQ_INIT(&journal->writes);
}

bool nbd_journal_is_needed(const struct nbd_store *store, const struct nbd_req *req)
{
	return store->export.can_flush && req->kind == NBD_KIND_HOST && req->op != BH_BLK_READ &&
	       req->op != BH_BLK_FLUSH && !(req->flags & BH_BLK_FLAG_FUA);
}

void nbd_journal_add(struct nbd_journal *journal, struct nbd_req *req)
{
	struct nbd_write *w = req->journal;

	req->journal = NULL;
	w->offset = req->offset;
	w->bytes = req->bytes;
	w->op = req->op;
	w->flags = req->flags;
	w->buf = req->buf;
	req->buf = NULL;
	w->number = ++journal->last;
	journal->bytes += WRITE_COST + (w->buf ? w->bytes : 0);
	TAILQ_INSERT_TAIL(&journal->writes, w, link);
}

void nbd_journal_drop(struct nbd_journal *journal, struct nbd_write *w)
{
	TAILQ_REMOVE(&journal->writes, w, link);
	journal->bytes -= WRITE_COST + (w->buf ? w->bytes : 0);
	free(w->buf);
	free(w);
}

void nbd_journal_trim(struct nbd_journal *journal, uint64_t number)
{
	struct nbd_write *w;

	while ((w = TAILQ_FIRST(&journal->writes)) && w->number <= number)
		nbd_journal_drop(journal, w);
}
