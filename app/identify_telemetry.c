/* SPDX-License-Identifier: BSD-3-Clause */
/* The host-initiated Telemetry log, captured now and written to a file as the controller has it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "identify.h"

#define BLOCK 512u
#define CHUNK 4096u

/* The header, once the controller has captured what there is: 0, -errno or a status field. */
static int create(const struct app_nvme *n, struct bh_nvme_telemetry *head)
{
	struct bh_nvme_cmd cmd = { .opc = BH_NVME_ADMIN_GET_LOG_PAGE, .nsid = BH_NVME_NSID_ALL };

	cmd.cdw10 = (uint32_t)(BH_NVME_LOG_TELEMETRY_HOST |
			       BH_NVME_SET(GLP_LSP, BH_NVME_TELEMETRY_CREATE) |
			       BH_NVME_SET(GLP_NUMDL, sizeof(*head) / 4 - 1));
	return bh_nvme_admin_sync(n->nvme, &cmd, head, sizeof(*head), NULL);
}

/* Areas one to three, which lie one behind the other. */
static uint64_t bytes_of(const struct bh_nvme_telemetry *head)
{
	uint64_t last = head->dalb1;

	last = head->dalb2 > last ? head->dalb2 : last;
	last = head->dalb3 > last ? head->dalb3 : last;
	return (last + 1) * BLOCK;
}

static int copy(const struct app_nvme *n, const struct bh_nvme_telemetry *head, FILE *file)
{
	uint64_t at = sizeof(*head), bytes = bytes_of(head);
	uint8_t chunk[CHUNK];
	int rc = 0;

	fwrite(head, sizeof(*head), 1, file);
	while (!rc && at < bytes) {
		size_t len = bytes - at < CHUNK ? (size_t)(bytes - at) : CHUNK;

		rc = bh_nvme_get_log(n->nvme, BH_NVME_LOG_TELEMETRY_HOST, BH_NVME_NSID_ALL, at,
				     chunk, len);
		if (!rc)
			fwrite(chunk, len, 1, file);
		at += len;
	}
	return rc;
}

static int refused(const struct app *app, const struct app_nvme *n, int rc)
{
	return app_fail(app, 1, "%s: no telemetry: %s", n->text,
			rc < 0 ? strerror(-rc) : bh_nvme_status_str((uint16_t)rc));
}

int identify_telemetry(const struct app *app, const struct app_nvme *n, const char *path)
{
	struct bh_nvme_telemetry head;
	FILE *file = NULL;
	bool is_written;
	int fd, rc;

	if (!(bh_nvme_ctrl_data(n->nvme)->lpa & BH_NVME_LPA_TELEMETRY))
		return app_fail(app, 1, "%s: the controller has no telemetry", n->text);
	rc = create(n, &head);
	if (rc)
		return refused(app, n, rc);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd >= 0)
		file = fdopen(fd, "wb");
	if (!file) {
		rc = errno;
		if (fd >= 0)
			close(fd);
		return app_fail(app, 1, "%s: %s", path, strerror(rc));
	}
	rc = copy(n, &head, file);
	is_written = !ferror(file);
	if (fclose(file) != 0 || !is_written)
		return app_fail(app, 1, "%s: cannot be written", path);
	return rc ? refused(app, n, rc) : 0;
}
