/* SPDX-License-Identifier: BSD-3-Clause */
#include <stddef.h>

#include "bh-tgt.h"

int main(int argc, char **argv)
{
	return bh_tgt_main(argc, argv, NULL);
}
