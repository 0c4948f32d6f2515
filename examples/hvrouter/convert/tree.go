package convert

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// The languages of BIRD and radvd are statements: words up to a semicolon, or up to a block in
// braces, which has statements again.

// token is a word, a string or a mark.
type token struct {
	text   string
	line   int
	quoted bool
}

// stmt is one statement.
type stmt struct {
	pos
	words []token
	block []*stmt
	// has tells a block that is empty from none.
	has bool
}

// maxDepth of blocks, and of brackets, in each other.
const maxDepth = 64

// text returns the words as they were written, more or less, but for a secret's.
func (s *stmt) text() string {
	if slices.Contains([]string{"password", "secret", "key"}, s.word(0)) {
		return s.word(0)
	}
	words := make([]string, len(s.words))
	for i, w := range s.words {
		words[i] = w.text
		if w.quoted {
			words[i] = `"` + w.text + `"`
		}
	}
	return short(strings.Join(words, " "))
}

// word returns the i-th word, "" beyond the end.
func (s *stmt) word(i int) string {
	if i < len(s.words) {
		return s.words[i].text
	}
	return ""
}

// after reports whether the statement begins with words, and returns what follows them.
func (s *stmt) after(words ...string) ([]token, bool) {
	if len(s.words) < len(words) {
		return nil, false
	}
	for i, w := range words {
		if s.words[i].quoted || s.words[i].text != w {
			return nil, false
		}
	}
	return s.words[len(words):], true
}

// parser makes statements of tokens.
type parser struct {
	file   string
	tokens []token
	next   int
}

func (p *parser) fail(line int, format string, args ...any) error {
	return &Error{p.file, line, fmt.Sprintf(format, args...)}
}

// statements reads up to the end, or the brace that closes a block.
func (p *parser) statements(depth int, opened int) ([]*stmt, error) {
	if depth > maxDepth {
		return nil, p.fail(opened, "blocks are nested more than %d deep", maxDepth)
	}
	var all []*stmt
	for p.next < len(p.tokens) {
		t := p.tokens[p.next]
		if !t.quoted && t.text == "}" {
			if depth == 0 {
				return nil, p.fail(t.line, "} without {")
			}
			p.next++
			return all, nil
		}
		if !t.quoted && t.text == ";" {
			p.next++
			continue
		}
		s, err := p.statement(depth)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	if depth > 0 {
		return nil, p.fail(opened, "the block that begins here does not end")
	}
	return all, nil
}

// statement reads one: up to a semicolon, the end of its block, or before the end of the block
// that it is in. Braces in brackets belong to it: [ 10.0.0.0/8{16,24} ].
func (p *parser) statement(depth int) (*stmt, error) {
	s := &stmt{pos: pos{p.file, p.tokens[p.next].line}}
	brackets := 0
	for ; p.next < len(p.tokens); p.next++ {
		t := p.tokens[p.next]
		if t.quoted {
			s.words = append(s.words, t)
			continue
		}
		switch t.text {
		case "[":
			brackets++
		case "]":
			brackets--
		case ";":
			if brackets > 0 {
				return nil, p.fail(t.line, "; in brackets")
			}
			p.next++
			return s, nil
		case "{", "}":
			if brackets > 0 {
				break
			}
			if t.text == "}" {
				return s, nil
			}
			p.next++
			s.has = true
			var err error
			s.block, err = p.statements(depth+1, t.line)
			return s, err
		}
		s.words = append(s.words, t)
	}
	if depth == 0 {
		return nil, p.fail(s.line, "%q has no semicolon and no block", s.text())
	}
	return s, nil
}

// scanner walks over text and counts lines.
type scanner struct {
	file string
	text string
	at   int
	line int
}

func (s *scanner) rest() string { return s.text[s.at:] }

// skip goes n octets further.
func (s *scanner) skip(n int) {
	s.line += strings.Count(s.text[s.at:s.at+n], "\n")
	s.at += n
}

// blank goes over white space and comments; marks begin one that goes to the end of the line.
func (s *scanner) blank(c bool, marks ...string) error {
outer:
	for s.at < len(s.text) {
		if strings.IndexByte(" \t\r\n\v\f", s.text[s.at]) >= 0 {
			s.skip(1)
			continue
		}
		for _, m := range marks {
			if strings.HasPrefix(s.rest(), m) {
				if i := strings.IndexByte(s.rest(), '\n'); i >= 0 {
					s.skip(i)
				} else {
					s.skip(len(s.rest()))
				}
				continue outer
			}
		}
		if c && strings.HasPrefix(s.rest(), "/*") {
			i := strings.Index(s.rest()[2:], "*/")
			if i < 0 {
				return &Error{s.file, s.line, "the comment that begins here does not end"}
			}
			s.skip(i + 4)
			continue
		}
		return nil
	}
	return nil
}

// str reads a string in quotes, which ends on its line.
func (s *scanner) str(quote byte) (token, error) {
	i := strings.IndexAny(s.rest()[1:], string(quote)+"\n")
	if i < 0 || s.rest()[1+i] != quote {
		return token{}, &Error{s.file, s.line, "the string that begins here does not end on its line"}
	}
	t := token{s.rest()[1 : 1+i], s.line, true}
	s.skip(i + 2)
	return t, nil
}

// maxTokens bounds what one file is cut into.
const maxTokens = 2 << 20

// tokens cuts a text: next reads one token that is no string, at a place that is not blank.
func (s *scanner) tokens(c bool, next func() (int, error)) ([]token, error) {
	var all []token
	for {
		if err := s.blank(c, "#"); err != nil {
			return nil, err
		}
		if s.at == len(s.text) {
			return all, nil
		}
		if len(all) >= maxTokens {
			return nil, &Error{s.file, s.line, "the file is too large"}
		}
		if s.text[s.at] == '"' {
			t, err := s.str('"')
			if err != nil {
				return nil, err
			}
			all = append(all, t)
			continue
		}
		n, err := next()
		if err != nil {
			return nil, err
		}
		all = append(all, token{text: s.rest()[:n], line: s.line})
		s.skip(n)
	}
}

// parseBird reads a file of BIRD.
func parseBird(name, text string) ([]*stmt, error) {
	s := &scanner{file: name, text: text, line: 1}
	tokens, err := s.tokens(true, s.birdToken)
	if err != nil {
		return nil, err
	}
	return (&parser{file: name, tokens: tokens}).statements(0, 1)
}

func isWordByte(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '_'
}

func run(s string, in func(byte) bool) int {
	n := 0
	for n < len(s) && in(s[n]) {
		n++
	}
	return n
}

// birdToken returns the length of an address, a number, a name or a mark.
func (s *scanner) birdToken() (int, error) {
	text := s.rest()
	wide := run(text[:min(len(text), 64)], func(b byte) bool { return isWordByte(b) || b == '.' || b == ':' })
	if wide > 0 && wide < 64 {
		if _, err := netip.ParseAddr(text[:wide]); err == nil {
			return wide, nil
		}
	}
	if n := run(text, isWordByte); n > 0 {
		return n, nil
	}
	if text[0] == '\'' { // a name in quotes
		if n := 1 + run(text[1:], func(b byte) bool { return isWordByte(b) || b == '.' || b == ':' || b == '-' }); n < len(text) && text[n] == '\'' {
			return n + 1, nil
		}
		return 0, &Error{s.file, s.line, "the name that begins here does not end"}
	}
	for _, mark := range []string{"..", "!=", "!~", "<=", ">=", "&&", "||", "->", "++", "::"} {
		if strings.HasPrefix(text, mark) {
			return len(mark), nil
		}
	}
	if strings.IndexByte("{}[]();,.=~<>!+-*/%?:|&@^", text[0]) >= 0 {
		return 1, nil
	}
	return 0, &Error{s.file, s.line, fmt.Sprintf("%q is nothing of BIRD's language", short(text[:1]))}
}

// parseRadvd reads a file of radvd.
func parseRadvd(name, text string) ([]*stmt, error) {
	s := &scanner{file: name, text: text, line: 1}
	tokens, err := s.tokens(false, func() (int, error) {
		if n := run(s.rest(), func(b byte) bool { return b > ' ' && strings.IndexByte("{};,\"#", b) < 0 }); n > 0 {
			return n, nil
		}
		if strings.IndexByte("{};,", s.text[s.at]) >= 0 {
			return 1, nil
		}
		return 0, &Error{s.file, s.line, fmt.Sprintf("%q is nothing of radvd's language", short(s.rest()[:1]))}
	})
	if err != nil {
		return nil, err
	}
	return (&parser{file: name, tokens: tokens}).statements(0, 1)
}
