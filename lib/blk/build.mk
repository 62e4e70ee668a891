# SPDX-License-Identifier: BSD-3-Clause
blk_SRCS := bad.c blk.c chan.c file.c file_chan.c file_lock.c file_req.c media.c null.c ram.c ram_room.c slice.c \
	spans.c zones.c
