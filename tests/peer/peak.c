// How many multiplications of bytes a second one core does with AVX512-VNNI and nothing else to do: what a dense model's
// time is a share of (tests/peer/speed.sh).
//
//   gcc -O2 -o peak peak.c && ./peak          prints them in thousands of millions: the most of 50 turns
//
// Twelve independent sums, as many as hide the latency of VPDPBUSD; operands stay in registers.
#include <immintrin.h>
#include <stdio.h>
#include <time.h>

enum { SUMS = 12, STEPS = 20000, TURNS = 50, PRODUCTS = 64 };

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec * 1e-9;
}

#define STEP(sum) __asm__ volatile("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(w))

__attribute__((target("avx512f,avx512vnni"))) static double turn(void) {
    __m512i x = _mm512_set1_epi32(0x01020304), w = _mm512_set1_epi32(0x04030201);
    __m512i a = x, b = x, c = x, d = x, e = x, f = x, g = x, h = x, i = x, j = x, k = x, l = x;
    double start = seconds();
    for (int step = 0; step < STEPS; step++) {
        STEP(a); STEP(b); STEP(c); STEP(d); STEP(e); STEP(f);
        STEP(g); STEP(h); STEP(i); STEP(j); STEP(k); STEP(l);
    }
    return (double)SUMS * STEPS * PRODUCTS / (seconds() - start);
}

int main(void) {
    if (!__builtin_cpu_supports("avx512vnni")) {
        fprintf(stderr, "this processor has no AVX512-VNNI\n");
        return 1;
    }
    double most = 0;
    for (int i = 0; i < TURNS; i++) {
        double now = turn();
        most = now > most ? now : most;
    }
    printf("%.1f\n", most / 1e9);
    return 0;
}
