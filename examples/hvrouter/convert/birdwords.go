package convert

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

func isChannel(s *stmt) bool {
	w := s.word(0)
	return len(s.words) > 0 && !s.words[0].quoted && (w == "ipv4" || w == "ipv6" || w == "vpn4" || w == "vpn6" || w == "flow4" || w == "flow6") && s.word(1) != "table"
}

// spend bounds what constants and templates make of a small file.
func (b *bird) spend(p pos, n int) error {
	if b.spent += n; b.spent > maxTokens {
		return &Error{p.file, p.line, "constants and templates make the configuration too large"}
	}
	return nil
}

// expand returns a statement with constants replaced by their values, also in its block.
func (b *bird) expand(s *stmt) (*stmt, error) {
	words, err := b.values(s.pos, s.words, 0)
	if err != nil {
		return nil, err
	}
	out := *s
	out.words, out.block = words, make([]*stmt, len(s.block))
	for i, o := range s.block {
		if out.block[i], err = b.expand(o); err != nil {
			return nil, err
		}
	}
	return &out, b.spend(s.pos, 1)
}

func (b *bird) values(p pos, words []token, depth int) ([]token, error) {
	if !slices.ContainsFunc(words, func(t token) bool { return !t.quoted && b.defines[t.text] != nil }) {
		return words, nil
	}
	if depth > 16 {
		return nil, &Error{p.file, p.line, "constants that are defined by each other"}
	}
	var out []token
	for _, t := range words {
		value, ok := b.defines[t.text]
		if t.quoted || !ok {
			out = append(out, t)
			continue
		}
		value, err := b.values(p, value, depth+1)
		if err != nil {
			return nil, err
		}
		for _, v := range value {
			v.line = t.line
			out = append(out, v)
		}
		if err := b.spend(p, len(value)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// options returns the statements of a block, those of templates before it, constants replaced.
func (b *bird) options(s *stmt) ([]*stmt, error) {
	var all []*stmt
	at := s.pos
	for depth := 0; ; depth++ {
		if err := b.spend(at, len(s.block)); err != nil {
			return nil, err
		}
		all = append(slices.Clone(s.block), all...)
		i := slices.IndexFunc(s.words, func(t token) bool { return !t.quoted && t.text == "from" })
		if i < 0 {
			break
		}
		t := b.templates[s.word(i+1)]
		if t == nil {
			return nil, &Error{s.file, s.line, fmt.Sprintf("there is no template %q", short(s.word(i+1)))}
		}
		if depth == 16 {
			return nil, &Error{at.file, at.line, "templates that are made from each other"}
		}
		s = t
	}
	for i, o := range all {
		e, err := b.expand(o)
		if err != nil {
			return nil, err
		}
		all[i] = e
	}
	return all, nil
}

// name returns the second name of a protocol, and its kind if it has none.
func name(s *stmt) string {
	if n := s.word(2); n != "" && n != "from" {
		return strings.Trim(n, "'")
	}
	return s.word(1)
}

// flag reads an option that is on, off, or on without a word.
func (c *converter) flag(o *stmt, words ...string) (is, on bool) {
	rest, ok := o.after(words...)
	if !ok {
		return false, false
	}
	return onOff(o, rest)
}

// onOff reads what follows the words of an option that is on, off, or on without a word.
func onOff(o *stmt, rest []token) (is, on bool) {
	if len(rest) > 1 || o.has {
		return false, false
	}
	if len(rest) == 0 {
		return true, true
	}
	switch rest[0].text {
	case "on", "yes", "true":
		return true, true
	case "off", "no", "false":
		return true, false
	}
	return false, false
}

// number reads an option with one number.
func number(o *stmt, words ...string) (uint64, bool, error) {
	rest, ok := o.after(words...)
	if !ok {
		return 0, false, nil
	}
	n, err := oneNumber(o, rest)
	return n, true, err
}

// oneNumber reads what follows the words of an option with one number, which may be in seconds.
func oneNumber(o *stmt, rest []token) (uint64, error) {
	if n := len(rest); n > 1 && rest[n-1].text == "s" {
		rest = rest[:n-1]
	}
	if n, ok := evaluate(rest); ok {
		return n, nil
	}
	return 0, &Error{o.file, o.line, fmt.Sprintf("%q: want one number", o.text())}
}

// span reads a time: 100 ms, 1 s, 50000 us.
func span(o *stmt, rest []token) (time.Duration, error) {
	if last := len(rest) - 1; last > 0 {
		unit := map[string]time.Duration{"us": time.Microsecond, "ms": time.Millisecond, "s": time.Second}[rest[last].text]
		if n, ok := evaluate(rest[:last]); ok && unit != 0 {
			return time.Duration(n) * unit, nil
		}
	}
	return 0, &Error{o.file, o.line, fmt.Sprintf("%q: want a time such as 100 ms", o.text())}
}

// tokenText joins words with spaces.
func tokenText(words []token) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = w.text
	}
	return strings.Join(out, " ")
}
