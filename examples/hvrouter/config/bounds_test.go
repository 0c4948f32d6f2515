package config

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// TestMemory: what is nested without end, repeats itself or stands on one long line is
// refused in memory of its own order, and every message says where (E10).
func TestMemory(t *testing.T) {
	var stairs strings.Builder
	for i := range 700 {
		fmt.Fprintf(&stairs, "%sa:\n", strings.Repeat(" ", i))
	}
	for _, tc := range []struct{ what, text, want string }{
		{"brackets", strings.Repeat("[", 180_000), "1:33: nested more than 32 deep"},
		{"closed brackets", strings.Repeat("[", 1000) + "x" + strings.Repeat("]", 1000), "1:33: nested more than 32 deep"},
		{"braces", strings.Repeat("{a: ", 1000) + "x" + strings.Repeat("}", 1000), "1:129: nested more than 32 deep"},
		{"on lines of their own", "- name: x\n  ipv4: " + strings.Repeat("[\n", 100), "nested more than 32 deep"},
		{"lists in lists", strings.Repeat("- ", 5000) + "x", "nested more than 32 deep"},
		{"stairs", stairs.String(), "nested more than 32 deep"},
		{"documents", strings.Repeat("---\nname: a\n", 5000), "a second document"},
		{"many lists", "[" + strings.Repeat("[[[[x]]]],", 10_000) + "x]", "1:2: "},
		{"one key many times", "{" + strings.Repeat("a: 1,", 20_000) + "}", `1:7: mapping key "a" already defined at [1:2]`},
		{"an unknown key in a long line", "[" + strings.Repeat("{name: a},", 10_000) + "{nmae: a}]", `1:100003: unknown field "nmae"`},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := ParseGuests("f", []byte(tc.text))
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %.200v, want %s", tc.what, err, tc.want)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 1500*uint64(len(tc.text))+1<<20 {
			t.Errorf("%s: %d MiB for %d KiB", tc.what, took>>20, len(tc.text)>>10)
		}
	}
}
