package convert

import "strconv"

// sum is the arithmetic of BIRD's numbers: 3 * 60, (65000 + 3).
type sum struct {
	words []token
	depth int
}

// evaluate returns the value of all words, if they are a number of 32 bits.
func evaluate(words []token) (uint64, bool) {
	s := &sum{words: words}
	v, ok := s.terms()
	return v, ok && len(s.words) == 0
}

// take takes the next word if it is one of these marks.
func (s *sum) take(marks ...string) string {
	for _, m := range marks {
		if len(s.words) > 0 && !s.words[0].quoted && s.words[0].text == m {
			s.words = s.words[1:]
			return m
		}
	}
	return ""
}

func (s *sum) terms() (v uint64, ok bool) {
	for v, ok = s.factors(); ok; {
		mark := s.take("+", "-")
		if mark == "" {
			break
		}
		w, is := s.factors()
		switch {
		case !is, mark == "-" && w > v:
			return 0, false
		case mark == "-":
			v -= w
		default:
			v += w
		}
		ok = v <= 1<<32-1
	}
	return v, ok
}

func (s *sum) factors() (v uint64, ok bool) {
	for v, ok = s.one(); ok; {
		mark := s.take("*", "/")
		if mark == "" {
			break
		}
		w, is := s.one()
		switch {
		case !is, mark == "/" && w == 0:
			return 0, false
		case mark == "*":
			v *= w // both have 32 bits
		default:
			v /= w
		}
		ok = v <= 1<<32-1
	}
	return v, ok
}

func (s *sum) one() (v uint64, ok bool) {
	if s.take("(") != "" {
		if s.depth++; s.depth > maxDepth {
			return 0, false
		}
		v, ok = s.terms()
		return v, ok && s.take(")") != ""
	}
	if len(s.words) == 0 || s.words[0].quoted {
		return 0, false
	}
	v, err := strconv.ParseUint(s.words[0].text, 0, 32)
	s.words = s.words[1:]
	return v, err == nil
}

// bracketed returns how many words a number takes: one, or all up to the bracket that closes it.
func bracketed(words []token) int {
	open := 0
	for i, w := range words {
		switch w.text {
		case "(":
			open++
		case ")":
			open--
		}
		if open == 0 {
			return i + 1
		}
	}
	return len(words)
}
