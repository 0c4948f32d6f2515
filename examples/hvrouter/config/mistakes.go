package config

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/goccy/go-yaml/ast"
)

// mostErrors is how many mistakes of a file, or of one guest, are named; the others are counted. A list with aliases has as
// many mistakes as the author wants.
const mostErrors = 50

// mistakes gathers the mistakes of a file.
type mistakes struct {
	list Errors
	more int // than the list has
	// readable: one of them is not about what this process may not read.
	readable bool
}

// any reports whether there are mistakes.
func (m *mistakes) any() bool { return len(m.list) > 0 }

// full reports whether the list is full. A mistake is counted then.
func (m *mistakes) full(err error) bool {
	if len(m.list) < mostErrors {
		return false
	}
	m.more++
	m.readable = m.readable || !errors.Is(err, fs.ErrPermission)
	return true
}

// add adds a mistake at a node.
func (m *mistakes) add(node ast.Node, format string, args ...any) {
	if !m.full(nil) {
		m.list = append(m.list, at(node, format, args...))
	}
}

// sorted returns the mistakes in the order of the file. The last one says how many more there are.
func (m *mistakes) sorted(file string) Errors {
	list := m.list.sorted(file)
	if m.more > 0 {
		e := &Error{File: file, Msg: moreMistakes(m.more), More: m.more}
		if !m.readable {
			e.Err = fs.ErrPermission
		}
		list = append(list, e)
	}
	return list
}

// moreMistakes says how many mistakes are not named.
func moreMistakes(n int) string {
	if n == 1 {
		return "and 1 more mistake"
	}
	return fmt.Sprintf("and %d more mistakes", n)
}

// problems gathers what is wrong with a guest: of what may be meant, and of what may not, as much as [mostErrors].
type problems struct {
	list []Problem
	// Those that may be meant, and the others, also those that the list does not have.
	odd, firm int
}

// full reports whether the list has as many as it may of those that may be meant, or of the others. Another one is counted.
func (p *problems) full(odd bool) bool {
	n := &p.firm
	if odd {
		n = &p.odd
	}
	*n++
	return *n > mostErrors
}

// of returns the problems of a guest: what it may be forced to is left out if it is.
func (p *problems) of(g Guest) (list []Problem) {
	for _, one := range p.list {
		if !one.Odd || !g.Force {
			list = append(list, one)
		}
	}
	more := func(n int, odd bool) {
		if n -= mostErrors; n > 0 {
			list = append(list, Problem{Msg: moreMistakes(n), Odd: odd, More: n})
		}
	}
	more(p.firm, false)
	if !g.Force {
		more(p.odd, true)
	}
	return list
}
