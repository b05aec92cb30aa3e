/* The constants of Philox4x32-10, for its scalar and its vector form. */
#ifndef SPD_PHILOX_H
#define SPD_PHILOX_H

#define PHILOX_ROUNDS 10
#define PHILOX_MULTIPLIER_0 0xD2511F53u
#define PHILOX_MULTIPLIER_1 0xCD9E8D57u
#define PHILOX_WEYL_0 0x9E3779B9u
#define PHILOX_WEYL_1 0xBB67AE85u
/* The upper 24 bits as a number in [0, 1), exact in a float. */
#define PHILOX_UNIFORM(word) ((spd_real)((int32_t)((word) >> 8)) * (spd_real)5.9604644775390625e-8)

#endif
