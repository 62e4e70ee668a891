/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Barriers, streaming stores and accessors for memory shared with a device or a peer process.
 *
 * Component: lib/base
 *
 * The only place with per-architecture code for ordering. Loads and stores of shared memory go
 * through these helpers, so that each is made exactly once and with the width written here. All
 * shared values are little-endian; Bellhop runs on little-endian hosts.
 */
#ifndef BELLHOP_BARRIER_H
#define BELLHOP_BARRIER_H

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "Bellhop needs a little-endian host"
#endif

#define bh_load_u8(p) __atomic_load_n((const uint8_t *)(p), __ATOMIC_RELAXED)
#define bh_load_u16(p) __atomic_load_n((const uint16_t *)(p), __ATOMIC_RELAXED)
#define bh_load_u32(p) __atomic_load_n((const uint32_t *)(p), __ATOMIC_RELAXED)
#define bh_load_u64(p) __atomic_load_n((const uint64_t *)(p), __ATOMIC_RELAXED)
#define bh_load_acquire_u16(p) __atomic_load_n((const uint16_t *)(p), __ATOMIC_ACQUIRE)
#define bh_load_acquire_u32(p) __atomic_load_n((const uint32_t *)(p), __ATOMIC_ACQUIRE)
#define bh_load_acquire_u64(p) __atomic_load_n((const uint64_t *)(p), __ATOMIC_ACQUIRE)
#define bh_store_u16(p, v) __atomic_store_n((uint16_t *)(p), (v), __ATOMIC_RELAXED)
#define bh_store_u32(p, v) __atomic_store_n((uint32_t *)(p), (v), __ATOMIC_RELAXED)
#define bh_store_u64(p, v) __atomic_store_n((uint64_t *)(p), (v), __ATOMIC_RELAXED)
#define bh_store_release_u16(p, v) __atomic_store_n((uint16_t *)(p), (v), __ATOMIC_RELEASE)
#define bh_store_release_u32(p, v) __atomic_store_n((uint32_t *)(p), (v), __ATOMIC_RELEASE)
#define bh_store_release_u64(p, v) __atomic_store_n((uint64_t *)(p), (v), __ATOMIC_RELEASE)

/* Orders everything before against everything after, store-to-load included (shadow doorbells). */
static inline void bh_mb(void)
{
	/* Not __atomic_thread_fence: gcc refuses it under ThreadSanitizer. */
#if defined(__x86_64__)
	__asm__ volatile("lock; orl $0, (%%rsp)" ::: "memory", "cc");
#elif defined(__aarch64__)
	__asm__ volatile("dmb ish" ::: "memory");
#else
	__sync_synchronize();
#endif
}

/*
 * Entry stores before, doorbell store after, both in ordinary or uncached memory. x86 keeps such
 * stores in order; the compiler is told. aarch64 needs a store barrier over the outer shareable
 * domain.
 */
static inline void bh_wmb_io(void)
{
#if defined(__aarch64__)
	__asm__ volatile("dmb oshst" ::: "memory");
#else
	__asm__ volatile("" ::: "memory");
#endif
}

/*
 * As bh_wmb_io, where the entries or the doorbell are write-combining or were streamed: x86 needs
 * sfence.
 */
static inline void bh_wmb_wc(void)
{
#if defined(__x86_64__)
	_mm_sfence();
#else
	bh_wmb_io();
#endif
}

/* After a doorbell in write-combining memory: pushes it out of the buffer. */
static inline void bh_wc_flush(void)
{
#if defined(__x86_64__)
	_mm_sfence();
#else
	__asm__ volatile("dsb st" ::: "memory");
#endif
}

/* A spin-wait hint. */
static inline void bh_relax(void)
{
#if defined(__x86_64__)
	_mm_pause();
#else
	__asm__ volatile("yield" ::: "memory");
#endif
}

/*
 * Copies memory that a peer may change meanwhile, so that dst is all there is from then on: a
 * compiler may otherwise take what it copied for the same as its source, and read that again.
 * Orders nothing.
 */
static inline void bh_fetch(void *dst, const void *src, size_t len)
{
	__builtin_memcpy(dst, src, len);
	__asm__ volatile("" : : "r"(dst) : "memory");
}

/*
 * As bh_fetch for one submission queue entry; only dst is touched, whatever else is in registers
 * stays.
 */
static inline void bh_fetch_64(void *dst, const void *src)
{
	__builtin_memcpy(dst, src, 64);
	__asm__ volatile("" : "+m"(*(unsigned char(*)[64])dst));
}

static inline void bh_prefetch(const void *p)
{
	__builtin_prefetch(p, 0, 3);
}

/*
 * 64 bytes past the caches into write-combining memory; dst is 64-byte aligned. Order with
 * bh_wmb_wc().
 */
static inline void bh_stream_64(void *dst, const void *src)
{
#if defined(__x86_64__)
	const __m128i *s = (const __m128i *)src;
	__m128i *d = (__m128i *)dst;
	__m128i a = _mm_loadu_si128(s), b = _mm_loadu_si128(s + 1);
	__m128i c = _mm_loadu_si128(s + 2), e = _mm_loadu_si128(s + 3);
	_mm_stream_si128(d, a);
	_mm_stream_si128(d + 1, b);
	_mm_stream_si128(d + 2, c);
	_mm_stream_si128(d + 3, e);
#else
	__builtin_memcpy(dst, src, 64);
#endif
}

#ifdef __cplusplus
}
#endif
#endif
