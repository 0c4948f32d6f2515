package config

import (
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// Error is one mistake in a file. Line and Column count from 1; both are 0 when
// the mistake has no place, such as an empty file.
type Error struct {
	File         string
	Line, Column int
	Msg          string
	// Err is why something that the file names could not be read, nil for a mistake in the file
	// itself.
	Err error
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Error returns "file:line:column: message", the form that editors jump to, with what is
// known of the place.
func (e *Error) Error() string {
	switch {
	case e.Line == 0 && e.File == "":
		return e.Msg
	case e.Line == 0:
		return e.File + ": " + e.Msg
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Msg)
}

// Errors is every mistake found in one file, in the order of the file. It is
// never empty when it is returned as an error.
type Errors []*Error

// Error returns one mistake a line.
func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// Forbidden reports whether all that is wrong is that this process may not read what the file
// names.
func (es Errors) Forbidden() bool {
	return !slices.ContainsFunc(es, func(e *Error) bool { return !errors.Is(e, fs.ErrPermission) })
}

func (es Errors) sorted(file string) Errors {
	for _, e := range es {
		e.File = file
	}
	slices.SortStableFunc(es, func(a, b *Error) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return es
}

// at makes an error that points at a node.
func at(node ast.Node, format string, args ...any) *Error {
	e := &Error{Msg: say(format, args)}
	if node != nil {
		e.setPosition(node.GetToken())
	}
	return e
}

// mostQuoted is how many octets of a text of the file an error quotes: its line and column say where the rest is.
const mostQuoted = 160

// say formats a message. A long text of the file in it is shortened.
func say(format string, args []any) string {
	args = slices.Clone(args)
	for i, a := range args {
		if s, ok := a.(string); ok {
			args[i] = shorten(s)
		}
	}
	return fmt.Sprintf(format, args...)
}

// shorten returns the beginning of a long text.
func shorten(s string) string {
	if len(s) <= mostQuoted {
		return s
	}
	end := mostQuoted - len("...")
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "..."
}

func (e *Error) setPosition(t *token.Token) {
	if t != nil && t.Position != nil {
		e.Line, e.Column = t.Position.Line, t.Position.Column
	}
}

// fromYAML gives a decoder's error our form. The decoder knows the token for all
// of its own errors, and our scalar types make theirs with [at].
func fromYAML(err error) *Error {
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	var y yaml.Error
	if !errors.As(err, &y) {
		return &Error{Msg: err.Error()}
	}
	// Not its Error: that draws the text around the token, which may be megabytes.
	e := &Error{Msg: shorten(y.GetMessage())}
	e.setPosition(y.GetToken())
	var overflow *yaml.OverflowError
	var other *yaml.TypeError
	switch {
	case errors.As(err, &overflow):
		e.Msg = fmt.Sprintf("%s: want %s", shorten(overflow.SrcNum), wanted(overflow.DstType))
	case errors.As(err, &other):
		e.Msg = "want " + wanted(other.DstType)
		switch t := y.GetToken(); {
		case t == nil || t.Value == "":
		case t.Type == token.MappingStartType:
			e.Msg += ", not a mapping"
		case t.Type == token.SequenceStartType:
			e.Msg += ", not a list"
		default:
			e.Msg = shorten(t.Value) + ": " + e.Msg
		}
	}
	return e
}

// wanted says in words what a value of a type is.
func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		return fmt.Sprintf("a number from 0 to %d", uint64(1)<<t.Bits()-1)
	case reflect.Int:
		return "a number"
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a text"
	case reflect.Slice:
		return "a list"
	case reflect.Pointer:
		return wanted(t.Elem())
	}
	return "a mapping"
}
