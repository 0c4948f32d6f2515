package config

import (
	"strings"
	"testing"
)

// A mistake in a long value quotes its beginning: a line and a column lead to the rest. A mapping or a list in the place of
// a scalar is named, not quoted.
func TestErrorsAreShort(t *testing.T) {
	long := strings.Repeat("ä", 5000)
	digits := strings.Repeat("9", 5000)
	mapping := "{name: public, reflectors: [{fabric: A}]}"
	for text, want := range map[string]string{
		"router-id: " + long:                         `f:1:12: "ää`,
		"router-id: 0.0.1.1\nas: " + digits:          "f:2:5: 999",
		"router-id: 0.0.1.1\nas: " + long:            "f:2:5: ää",
		"router-id: 0.0.1.1\n" + long + ": 1":        `f:2:1: unknown field "ää`,
		"router-id: 0.0.1.1\nas: " + mapping:         "f:2:5: want a number from 0 to 4294967295, not a mapping",
		"router-id: 0.0.1.1\nas: [1, 2]":             "f:2:5: want a number from 0 to 4294967295, not a list",
		"as: 1\ndomains: [{name: " + mapping + "}]":  "f:2:18: want a text, not a mapping",
		"as: 1\ndomains: [{name: " + long + "}]":     `f:2:18: "ää`,
		"router-id: 0.0.1.1\nas:\n  b: 1":            "f:3:3: want a number from 0 to 4294967295, not a mapping",
		"router-id: 0.0.1.1\nas:\n  b: 1\n  c: 2":    "f:3:3: want a number from 0 to 4294967295, not a mapping",
		"router-id: 0.0.1.1\nas:\n  - 1":             "f:3:3: want a number from 0 to 4294967295, not a list",
		"as: 1\ndomains:\n- name:\n  - public":       "f:4:3: want a text, not a list",
		"as: 1\ndomains:\n- name:\n    public: 1":    "f:4:5: want a text, not a mapping",
		"as: 1\ndomains:\n- guests:\n  - yes":        "f:4:3: want true or false, not a list",
		"as: 1\ndomains:\n- guests:\n    yes: 1":     "f:4:5: want true or false, not a mapping",
		"as: |\n  abc\n":                             "f:1:5: want a number from 0 to 4294967295",
		"as: >-\n  abc\n":                            "f:1:5: want a number from 0 to 4294967295",
		"as: &a |\n  abc\n":                          "f:1:8: want a number from 0 to 4294967295",
		"as: &a {b: 1}":                              "f:1:8: want a number from 0 to 4294967295, not a mapping",
		"log: &a [b]\nas: *a":                        "f:1:9: want a number from 0 to 4294967295, not a list",
		"guests: [{name: &a x}]\nas: *a":             "f:1:20: x: want a number from 0 to 4294967295",
		"as: 1\ndomains: [{name: a, guests: [yes]}]": "f:2:29: want true or false, not a list",
	} {
		_, err := Parse("f", []byte(text), nil)
		if err == nil {
			t.Errorf("%.60s: no error", text)
			continue
		}
		found := false
		for line := range strings.Lines(err.Error()) {
			found = found || strings.HasPrefix(line, want)
			if len(line) > 300 || !strings.Contains(line, want) && strings.Contains(line, "\ufffd") {
				t.Errorf("%.60s: %d octets: %.400s", text, len(line), line)
			}
		}
		if !found {
			t.Errorf("%.60s: %.400s, want %s", text, err, want)
		}
	}
}
