/* Go's duration notation (time.ParseDuration), which KIP's sleep takes, read into nanoseconds. */
#ifndef KIP_DURATION_H
#define KIP_DURATION_H

#define FOREVER (-1L)
#define NOT_A_DURATION (-2L)

static int equal(const char *a, const char *b) {
  while (*a && *a == *b) a++, b++;
  return *a == *b;
}

/* The length of `unit` at the head of `text`, where no letter of a longer unit follows; 0 if it is another one. */
static int unit_at(const char *text, const char *unit) {
  int length = 0;
  while (unit[length]) {
    if (text[length] != unit[length]) return 0;
    length++;
  }
  char next = text[length];
  return next == 0 || next == '.' || (next >= '0' && next <= '9') ? length : 0;
}

/* Nanoseconds of the unit at `*text`, which is moved past it; 0 if there is none. */
static long read_unit(const char **text) {
  static const struct {
    char name[4];
    long nanoseconds;
  } units[] = {
      {"ns", 1},
      {"us", 1000},
      {"\xc2\xb5s", 1000}, /* micro sign */
      {"\xce\xbcs", 1000}, /* Greek mu */
      {"ms", 1000000},
      {"s", 1000000000},
      {"m", 60000000000},
      {"h", 3600000000000},
  };
  for (unsigned i = 0; i < sizeof units / sizeof *units; i++) {
    int length = unit_at(*text, units[i].name);
    if (length) {
      *text += length;
      return units[i].nanoseconds;
    }
  }
  return 0;
}

/*
 * Nanoseconds of `text`, FOREVER for "infinity", or NOT_A_DURATION. A negative duration is over at once, as in Go:
 * it reads as 0. What is too small for a nanosecond is dropped; what passes 2^63 ns (292 years) is an error, as in Go.
 */
static long read_duration(const char *text) {
  if (equal(text, "infinity")) return FOREVER;
  int negative = *text == '-';
  if (*text == '-' || *text == '+') text++;
  if (equal(text, "0")) return 0;
  if (!*text) return NOT_A_DURATION;
  long total = 0;
  while (*text) {
    long whole = 0;
    int digits = 0;
    for (; *text >= '0' && *text <= '9'; text++, digits++)
      if (__builtin_mul_overflow(whole, 10, &whole) || __builtin_add_overflow(whole, *text - '0', &whole))
        return NOT_A_DURATION;
    const char *fraction = 0;
    if (*text == '.')
      for (fraction = ++text; *text >= '0' && *text <= '9'; text++) digits++;
    if (!digits) return NOT_A_DURATION;
    long unit = read_unit(&text);
    if (!unit || __builtin_mul_overflow(whole, unit, &whole) || __builtin_add_overflow(total, whole, &total))
      return NOT_A_DURATION;
    if (fraction)
      for (long place = unit / 10; place && *fraction >= '0' && *fraction <= '9'; place /= 10, fraction++)
        if (__builtin_add_overflow(total, place * (*fraction - '0'), &total)) return NOT_A_DURATION;
  }
  return negative ? 0 : total;
}

#endif
