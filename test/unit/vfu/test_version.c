/* SPDX-License-Identifier: BSD-3-Clause */
/* VERSION bodies: what is sent, what is taken, what is refused. */
#include <errno.h>
#include <string.h>

#include "unit.h"
#include "vfu/vfu.h"

#define QEMU_REPLY_LIMIT 214 /* header included */

static int decode(const char *json, struct vfu_caps *caps)
{
	uint8_t body[1024] = { 0, 0, 1, 0 };
	uint16_t major = 9, minor = 9;
	const char *why;
	int rc;

	strcpy((char *)body + 4, json);
	rc = vfu_version_decode(body, 4 + strlen(json) + 1, &major, &minor, caps, &why);
	CU_ASSERT_EQUAL(major, 0);
	CU_ASSERT_EQUAL(minor, 1);
	CU_ASSERT_EQUAL(why == NULL, rc == 0);
	return rc;
}

static void no_json_means_defaults(void)
{
	const uint8_t body[4] = { 0, 0, 1, 0 };
	struct vfu_caps caps;
	uint16_t major, minor;
	const char *why;

	CU_ASSERT_EQUAL(vfu_version_decode(body, 4, &major, &minor, &caps, &why), 0);
	CU_ASSERT_EQUAL(minor, 1);
	CU_ASSERT_EQUAL(caps.max_msg_fds, 1);
	CU_ASSERT_EQUAL(caps.max_data_xfer, 1048576);
	CU_ASSERT_EQUAL(caps.max_dma_maps, 65535);
	CU_ASSERT_EQUAL(caps.pgsizes, 4096);
	CU_ASSERT_FALSE(caps.twin_socket);
	CU_ASSERT_FALSE(caps.write_multiple);
	CU_ASSERT_EQUAL(vfu_version_decode(body, 3, &major, &minor, &caps, &why), -EINVAL);
	CU_ASSERT_EQUAL(decode("{}", &caps), 0);
	CU_ASSERT_EQUAL(decode("{\"capabilities\":{}}", &caps), 0);
	CU_ASSERT_EQUAL(decode("{\"other\":[1,{\"a\":2}]}", &caps), 0);
}

static void values_are_taken(void)
{
	struct vfu_caps caps;

	CU_ASSERT_EQUAL(decode("{\"capabilities\":{\"max_msg_fds\":8,"
			       "\"max_data_xfer_size\":4294967297,"
			       "\"max_dma_maps\":16,\"pgsizes\":2101248,\"write_multiple\":true,"
			       "\"unknown\":{},\"twin_socket\":{\"supported\":true,\"fd_index\":2},"
			       "\"migration\":{\"pgsize\":4096,\"max_bitmap_size\":268435456}}}",
			       &caps),
			0);
	CU_ASSERT_EQUAL(caps.max_msg_fds, 8);
	CU_ASSERT_EQUAL(caps.max_data_xfer, 4294967297);
	CU_ASSERT_EQUAL(caps.max_dma_maps, 16);
	CU_ASSERT_EQUAL(caps.pgsizes, 2101248);
	CU_ASSERT_TRUE(caps.write_multiple);
	CU_ASSERT_TRUE(caps.twin_socket);
	CU_ASSERT_EQUAL(caps.twin_fd_index, 2);
	CU_ASSERT_TRUE(caps.has_migration);
	CU_ASSERT_EQUAL(caps.max_bitmap_size, 268435456);
}

static void bad_text_is_einval(void)
{
	static const char *const bad[] = {
		"",
		"{",
		"[]",
		"\"x\"",
		"{} x",
		"{\"capabilities\":[]}",
		"{\"capabilities\":1}",
		"{\"capabilities\":{},\"capabilities\":{}}",
		"{\"capabilities\":{\"max_msg_fds\":\"8\"}}",
		"{\"capabilities\":{\"max_msg_fds\":-1}}",
		"{\"capabilities\":{\"max_msg_fds\":1025}}",
		"{\"capabilities\":{\"max_msg_fds\":4294967297}}",
		"{\"capabilities\":{\"max_msg_fds\":1.5}}",
		"{\"capabilities\":{\"max_msg_fds\":8,\"max_msg_fds\":9}}",
		"{\"capabilities\":{\"max_data_xfer_size\":-1}}",
		"{\"capabilities\":{\"max_data_xfer_size\":0}}",
		"{\"capabilities\":{\"max_data_xfer_size\":true}}",
		"{\"capabilities\":{\"max_data_xfer_size\":99999999999999999999}}",
		"{\"capabilities\":{\"max_dma_maps\":4294967296}}",
		"{\"capabilities\":{\"max_dma_maps\":{}}}",
		"{\"capabilities\":{\"pgsizes\":0}}",
		"{\"capabilities\":{\"pgsizes\":4097}}",
		"{\"capabilities\":{\"pgsizes\":null}}",
		"{\"capabilities\":{\"write_multiple\":1}}",
		"{\"capabilities\":{\"twin_socket\":true}}",
		"{\"capabilities\":{\"twin_socket\":{\"supported\":1}}}",
		"{\"capabilities\":{\"twin_socket\":{\"supported\":true,\"fd_index\":-1}}}",
		"{\"capabilities\":{\"twin_socket\":{\"supported\":true,\"fd_index\":\"0\"}}}",
		"{\"capabilities\":{\"migration\":4096}}",
		"{\"capabilities\":{\"migration\":{\"pgsize\":-4096}}}",
		"{\"capabilities\":{\"migration\":{\"pgsize\":100}}}",
		"{\"capabilities\":{\"migration\":{\"max_bitmap_size\":\"1\"}}}",
	};
	struct vfu_caps caps;
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CU_ASSERT_EQUAL(decode(bad[i], &caps), -EINVAL);
}

static void missing_nul_is_einval(void)
{
	const char body[] = "\0\0\0\0{}";
	struct vfu_caps caps;
	uint16_t major, minor;
	const char *why;

	CU_ASSERT_EQUAL(vfu_version_decode(NULL, 0, &major, &minor, &caps, &why), -EINVAL);
	CU_ASSERT_EQUAL(vfu_version_decode(body, 6, &major, &minor, &caps, &why), -EINVAL);
	CU_ASSERT_EQUAL(vfu_version_decode(body, 7, &major, &minor, &caps, &why), 0);
}

static void deep_nesting_is_refused_not_followed(void)
{
	static char body[1 << 20];
	struct vfu_caps caps;
	uint16_t major, minor;
	const char *why;

	memset(body + 4, '[', sizeof(body) - 5);
	CU_ASSERT_EQUAL(vfu_version_decode(body, sizeof(body), &major, &minor, &caps, &why),
			-EINVAL);
}

static void reply_fits_qemus_buffer(void)
{
	struct vfu_caps caps, back;
	char body[QEMU_REPLY_LIMIT - 16];
	uint16_t major, minor;
	const char *why;
	int n;

	vfu_caps_default(&caps);
	caps.max_msg_fds = 16;
	caps.write_multiple = true;
	caps.twin_socket = true;
	caps.twin_fd_index = 0;
	n = vfu_version_encode(0, 2, &caps, true, body, sizeof(body));
	CU_ASSERT(n > 0);
	CU_ASSERT_EQUAL(vfu_version_decode(body, (size_t)n, &major, &minor, &back, &why), 0);
	CU_ASSERT_EQUAL(memcmp(&caps, &back, sizeof(caps)), 0);
	CU_ASSERT_EQUAL(minor, 2);
	CU_ASSERT_EQUAL(vfu_version_encode(0, 2, &caps, true, body, (size_t)n - 1), -ENOSPC);
	CU_ASSERT_EQUAL(vfu_version_encode(0, 2, &caps, true, body, 3), -ENOSPC);
}

static void request_offers_without_index(void)
{
	struct vfu_caps caps, back;
	char body[512];
	uint16_t major, minor;
	const char *why;
	int n;

	vfu_caps_default(&caps);
	caps.twin_socket = true;
	caps.twin_fd_index = 0;
	caps.has_migration = true;
	caps.migration_pgsize = 4096;
	n = vfu_version_encode(0, 2, &caps, false, body, sizeof(body));
	CU_ASSERT(n > 0);
	CU_ASSERT_EQUAL(vfu_version_decode(body, (size_t)n, &major, &minor, &back, &why), 0);
	CU_ASSERT_TRUE(back.twin_socket);
	CU_ASSERT_EQUAL(back.twin_fd_index, -1);
	CU_ASSERT_TRUE(back.has_migration);
}

static void commands_have_names(void)
{
	CU_ASSERT_STRING_EQUAL(vfu_command_str(VFU_VERSION), "VERSION");
	CU_ASSERT_STRING_EQUAL(vfu_command_str(VFU_MIG_DATA_WRITE), "MIG_DATA_WRITE");
	CU_ASSERT_STRING_EQUAL(vfu_command_str(0), "unknown");
	CU_ASSERT_STRING_EQUAL(vfu_command_str(14), "unknown");
	CU_ASSERT_STRING_EQUAL(vfu_command_str(65535), "unknown");
}

BH_SUITE("vfu_version", { "no_json_means_defaults", no_json_means_defaults },
	 { "values_are_taken", values_are_taken }, { "bad_text_is_einval", bad_text_is_einval },
	 { "missing_nul_is_einval", missing_nul_is_einval },
	 { "deep_nesting_is_refused_not_followed", deep_nesting_is_refused_not_followed },
	 { "reply_fits_qemus_buffer", reply_fits_qemus_buffer },
	 { "request_offers_without_index", request_offers_without_index },
	 { "commands_have_names", commands_have_names }, )
