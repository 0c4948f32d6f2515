package convert

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// term is one of a policy, in hvrouter's words.
type term struct {
	prefixes  []string
	community string
	localPref string
	med       string
	add       []string
	remove    []string
	prepend   int
	prepended string // which AS
	action    string
}

// accepts is BIRD's `all`, rejects its `none`.
var (
	accepts = []term{{action: "accept"}}
	rejects = []term{{action: "reject"}}
	// unknown is refused by check: a filter that is not understood is no reason to accept all.
	unknown = []term{{action: fillIn + "action"}}
)

// policy reads what follows import or export. What is not understood becomes a term that check
// refuses, with a gap that says why.
func (c *converter) policy(b *bird, o *stmt) ([]term, error) {
	rest := o.words[1:]
	var terms []term
	var err error
	switch {
	case o.has && o.word(1) == "filter":
		terms, err = b.filter(o.block, term{})
	case tokenText(rest) == "all":
		return accepts, nil
	case tokenText(rest) == "none":
		return rejects, nil
	case o.word(1) == "filter" || len(rest) == 1 && b.filters[o.word(1)] != nil:
		f := b.filters[rest[len(rest)-1].text]
		if f == nil {
			return nil, &Error{o.file, o.line, fmt.Sprintf("there is no filter %q", short(rest[len(rest)-1].text))}
		}
		terms, err = b.filter(f.block, term{})
	case o.word(1) == "where":
		var t term
		t, err = condition(rest[1:])
		t.action = "accept"
		terms = []term{t}
	default:
		err = misread(o.text())
	}
	if err != nil {
		c.gap(o.pos, "%s: %v: %s is to be written by hand, and check refuses it until then", o.text(), err, o.word(0))
		return unknown, nil
	}
	if !ends(terms) {
		terms = append(terms, rejects...) // as BIRD does at the end of a filter
	}
	return terms, nil
}

// misread is a part of a filter that hvrouter's policies have no word for.
type misread string

func (m misread) Error() string { return fmt.Sprintf("no policy says %q", string(m)) }

// ends reports whether no route gets beyond terms.
func ends(terms []term) bool {
	if len(terms) == 0 {
		return false
	}
	t := terms[len(terms)-1]
	return t.action != "" && t.prefixes == nil && t.community == ""
}

// filter reads statements; all of them are for what fits when.
func (b *bird) filter(block []*stmt, when term) ([]term, error) {
	var terms []term
	current := when // changes that the next action, or condition, ends
	flush := func() {
		if current.changes() {
			terms = append(terms, current)
		}
		current = when
	}
	closed := false // the condition before ended in an action
	for _, s := range block {
		e, err := b.expand(s)
		if err != nil {
			return nil, err
		}
		words, text := e.words, tokenText(e.words)
		isElse := s.word(0) == "else"
		if isElse {
			if !closed {
				return nil, misread(e.text())
			}
			words = words[1:]
			text = tokenText(words)
		}
		switch {
		case (text == "accept" || text == "reject") && !s.has:
			current.action = text
			terms = append(terms, current)
			return terms, nil
		case len(words) > 0 && words[0].text == "if":
			if when.prefixes != nil || when.community != "" {
				return nil, misread(e.text())
			}
			flush()
			inner, err := b.conditional(s, words)
			if err != nil {
				return nil, err
			}
			closed = inner[len(inner)-1].action != ""
			terms = append(terms, inner...)
			continue
		case isElse && s.has && len(words) == 0:
			inner, err := b.filter(s.block, when)
			if err != nil {
				return nil, err
			}
			terms = append(terms, inner...)
		default:
			if err := current.change(words, text); err != nil || s.has {
				return nil, misread(e.text())
			}
		}
		closed = false
	}
	flush()
	return terms, nil
}

func (t term) changes() bool {
	return t.localPref != "" || t.med != "" || t.add != nil || t.remove != nil || t.prepend > 0
}

// conditional reads `if CONDITION then STATEMENT` or `if CONDITION then { ... }`.
func (b *bird) conditional(s *stmt, words []token) ([]term, error) {
	i := slices.IndexFunc(words, func(t token) bool { return t.text == "then" })
	if i < 0 {
		return nil, misread(s.text())
	}
	t, err := condition(words[1:i])
	if err != nil {
		return nil, err
	}
	var body []*stmt
	switch rest := words[i+1:]; {
	case s.has && len(rest) == 0:
		body = s.block
	case !s.has && len(rest) > 0:
		body = []*stmt{{pos: s.pos, words: rest}}
	default:
		return nil, misread(s.text())
	}
	terms, err := b.filter(body, t)
	if err == nil && len(terms) != 1 {
		err = misread(s.text()) // nothing at all, or something behind an end
	}
	return terms, err
}

// change reads an assignment.
func (t *term) change(words []token, text string) error {
	value := words[len(words)-1].text
	switch {
	case strings.HasPrefix(text, "bgp_local_pref = ") && len(words) == 3 && isNumber(value):
		t.localPref = value
	case strings.HasPrefix(text, "bgp_med = ") && len(words) == 3 && isNumber(value):
		t.med = value
	case len(words) > 4 && words[1].text == "." && words[3].text == "(" && value == ")":
		inner := words[4 : len(words)-1]
		switch words[0].text + "." + words[2].text {
		case "bgp_path.prepend":
			if len(inner) != 1 || !isNumber(inner[0].text) || t.prepend > 0 && t.prepended != inner[0].text {
				return misread(text)
			}
			t.prepend, t.prepended = t.prepend+1, inner[0].text
		case "bgp_community.add", "bgp_large_community.add":
			m, ok := community(inner)
			if !ok {
				return misread(text)
			}
			t.add = append(t.add, m)
		case "bgp_community.delete", "bgp_large_community.delete":
			m, ok := community(inner)
			if !ok {
				return misread(text)
			}
			t.remove = append(t.remove, m)
		default:
			return misread(text)
		}
	default:
		return misread(text)
	}
	return nil
}

func isNumber(s string) bool { _, err := strconv.ParseUint(s, 10, 32); return err == nil }

// community reads ( A , B ) or ( A , B , C ).
func community(words []token) (string, bool) {
	if n := len(words); n != 5 && n != 7 || words[0].text != "(" || words[n-1].text != ")" {
		return "", false
	}
	var parts []string
	for i := 1; i < len(words)-1; i++ {
		if i%2 == 0 {
			if words[i].text != "," {
				return "", false
			}
			continue
		}
		if !isNumber(words[i].text) {
			return "", false
		}
		parts = append(parts, words[i].text)
	}
	return strings.Join(parts, ":"), true
}

// condition reads what hvrouter's terms can ask: the prefix, or one community.
func condition(words []token) (term, error) {
	text := tokenText(words)
	for len(words) > 2 && words[0].text == "(" && words[len(words)-1].text == ")" && !strings.Contains(tokenText(words[1:len(words)-1]), ") ~") {
		if _, is := community(words); is {
			break
		}
		words = words[1 : len(words)-1]
	}
	n := len(words)
	switch {
	case n == 1 && words[0].text == "true":
		return term{}, nil
	case n > 3 && words[0].text == "net" && words[1].text == "~" && words[2].text == "[" && words[n-1].text == "]":
		list, ok := prefixes(words[3 : n-1])
		if !ok {
			return term{}, misread(text)
		}
		return term{prefixes: list}, nil
	case n == 5 && words[0].text == "net" && words[1].text == "=":
		list, ok := prefixes(words[2:])
		if !ok {
			return term{}, misread(text)
		}
		return term{prefixes: list}, nil
	case n > 2 && words[n-2].text == "~" && (words[n-1].text == "bgp_community" || words[n-1].text == "bgp_large_community"):
		if m, ok := community(words[:n-2]); ok {
			return term{community: m}, nil
		}
	case n > 4 && (words[0].text == "bgp_community" || words[0].text == "bgp_large_community") && words[1].text == "~" && words[2].text == "[" && words[n-1].text == "]":
		if m, ok := community(words[3 : n-1]); ok {
			return term{community: m}, nil
		}
	}
	return term{}, misread(text)
}

// prefixes reads 10.0.0.0/8, 10.0.0.0/8+, 10.0.0.0/8{16,24}, with commas between them.
func prefixes(words []token) (list []string, ok bool) {
	for len(words) > 0 {
		if len(words) < 3 || words[1].text != "/" {
			return nil, false
		}
		a, err := netip.ParseAddr(words[0].text)
		bits, bad := strconv.Atoi(words[2].text)
		if err != nil || bad != nil || bits < 0 || bits > a.BitLen() {
			return nil, false
		}
		p := netip.PrefixFrom(a, bits)
		if p != p.Masked() {
			return nil, false
		}
		entry := p.String()
		words = words[3:]
		switch {
		case len(words) > 0 && words[0].text == "+":
			if bits < a.BitLen() {
				entry += fmt.Sprintf(" le %d", a.BitLen())
			}
			words = words[1:]
		case len(words) >= 5 && words[0].text == "{" && words[2].text == "," && words[4].text == "}":
			least, err1 := strconv.Atoi(words[1].text)
			most, err2 := strconv.Atoi(words[3].text)
			if err1 != nil || err2 != nil || least < bits || most < least || most > a.BitLen() {
				return nil, false
			}
			entry += fmt.Sprintf(" ge %d le %d", least, most)
			words = words[5:]
		}
		list = append(list, entry)
		if len(words) > 0 {
			if words[0].text != "," || len(words) == 1 {
				return nil, false
			}
			words = words[1:]
		}
	}
	return list, len(list) > 0
}
