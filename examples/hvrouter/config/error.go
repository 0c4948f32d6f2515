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
	// More is how many mistakes a last error stands for that are not named; 0 for any other.
	More int

	// What Msg is made of, until the keys that the file has are taken out of it ([secrets.hide]).
	format string
	args   []any
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

// Errors are the mistakes found in one file, in the order of the file: 50 of them, and a last one that
// stands for the others ([Error.More]). It is never empty when it is returned as an error.
type Errors []*Error

// Error returns one mistake a line.
func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// Count returns how many mistakes there are, with those that are not named.
func (es Errors) Count() int {
	n := len(es)
	for _, e := range es {
		if e.More > 0 {
			n += e.More - 1
		}
	}
	return n
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
	e := saying(format, args...)
	if node != nil {
		e.setPosition(node.GetToken())
	}
	return e
}

// saying makes an error without a place.
func saying(format string, args ...any) *Error {
	return &Error{Msg: secrets(nil).say(format, args), format: format, args: args}
}

// mostQuoted is how many octets of a text of the file an error quotes: its line and column say where the rest is.
const mostQuoted = 160

// said is a message that was made with [secrets.say], in another one: it is not shortened again.
type said string

// say formats a message. A text of the file in it is shortened, once it has no key in it any more.
func (k secrets) say(format string, args []any) string {
	args = slices.Clone(args)
	for i, a := range args {
		switch a := a.(type) {
		case string:
			args[i] = shorten(k.hide(a))
		case said:
			args[i] = said(k.hide(string(a)))
		}
	}
	return k.replace(fmt.Sprintf(format, args...))
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
		return saying("%s", err.Error())
	}
	// Not its Error: that draws the text around the token, which may be megabytes.
	e := saying("%s", y.GetMessage())
	var overflow *yaml.OverflowError
	var other *yaml.TypeError
	switch {
	case errors.As(err, &overflow):
		e = saying("%s: want %s", overflow.SrcNum, wanted(overflow.DstType))
	case errors.As(err, &other):
		e = mismatch(other, y.GetToken())
	}
	t := y.GetToken()
	if t != nil && t.Type == token.MappingValueType && t.Prev != nil {
		t = t.Prev // the first key: a mapping's own token is its colon
	}
	e.setPosition(t)
	return e
}

// mismatch says that a value is of another type than its key wants. A mapping or a list is named, whatever its token is, and
// so are a literal and a folded scalar, which are long; a scalar is quoted.
func mismatch(err *yaml.TypeError, t *token.Token) *Error {
	want := wanted(err.DstType)
	kind := reflect.Invalid
	if err.SrcType != nil {
		kind = err.SrcType.Kind()
	}
	switch {
	case kind == reflect.Map:
		return saying("want %s, not a mapping", want)
	case kind == reflect.Slice:
		return saying("want %s, not a list", want)
	case t == nil || t.Value == "":
		return saying("want %s", want)
	}
	switch t.Type {
	case token.LiteralType, token.FoldedType, token.AnchorType, token.AliasType:
		return saying("want %s", want)
	}
	return saying("%s: want %s", t.Value, want)
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
