package config

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds on what is read, so that no input costs more than its size. The parser takes a
// time that grows with the square of the depth, and memory likewise: 90,000 brackets were
// 54 s and 6 GB. So the depth is known before anything is parsed.
const (
	// MaxSize of a file or a request, in octets: 30,000 guests.
	MaxSize = 4 << 20
	// maxDepth of lists and mappings in each other. The deepest of ours are 9.
	maxDepth = 32
	// maxNodes in a document with its aliases replaced by what they stand for.
	maxNodes = 2 << 20
)

// byteOrderMark may be the first character of a document (YAML 1.2.2, Section 5.2); the parser takes it for a part of the first key.
const byteOrderMark = "\uFEFF"

// parse reads one document. An error is an *Error or one of the library's, with its place.
func parse(data []byte) (*ast.File, error) {
	if len(data) > MaxSize {
		return nil, &Error{Line: 1, Column: 1, Msg: fmt.Sprintf("%d octets: want at most %d", len(data), MaxSize)}
	}
	data = bytes.TrimPrefix(data, []byte(byteOrderMark))
	for _, check := range []func([]byte) error{readable, brackets} {
		if err := check(data); err != nil {
			return nil, err
		}
	}
	var doc *ast.File
	err := survive(func() (err error) {
		tokens := lexer.Tokenize(string(data))
		for _, check := range []func(token.Tokens) error{single, shallow, untagged, unambiguous} {
			if err := check(tokens); err != nil {
				return err
			}
		}
		if doc, err = parser.Parse(tokens, 0); err != nil {
			return err
		}
		return bounded(doc)
	})
	if err != nil {
		return nil, err
	}
	return doc, nil
}

// survive runs f, which calls the library for YAML. A panic of that is an error: what somebody else wrote ends no loop.
func survive(f func() error) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = saying("this cannot be read: %s", fmt.Sprint(cause))
			err.(*Error).Line, err.(*Error).Column = 1, 1
		}
	}()
	return f()
}

// readable refuses what is not text: invalid UTF-8, and control characters, which YAML
// does not allow (YAML 1.2.2, Section 5.1).
func readable(data []byte) error {
	line, start := 1, 0
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		what := ""
		switch {
		case r == utf8.RuneError && size <= 1:
			what = "invalid UTF-8"
		case r == '\n':
			line, start = line+1, i+1
		case r < ' ' && r != '\t' && r != '\r' || r == 0x7f || r >= 0x80 && r < 0xa0 && r != 0x85:
			what = fmt.Sprintf("control character %U", r)
		}
		if what != "" {
			return &Error{Line: line, Column: utf8.RuneCount(data[start:i]) + 1, Msg: what}
		}
		i += size
	}
	return nil
}

// brackets refuses what is nested too deeply in flow style before even tokens are made,
// which take 250 octets each. It knows quotes and comments, not all of YAML: what it
// misses [shallow] finds.
func brackets(data []byte) error {
	depth, quote, before := 0, byte(0), byte('\n')
	for i := 0; i < len(data); i++ {
		b := data[i]
		begins := bytes.IndexByte([]byte(" \n\t[{,:"), before) >= 0 // a scalar, or a comment
		switch {
		case quote == '"' && b == '\\', quote == '\'' && bytes.HasPrefix(data[i:], []byte("''")):
			i++
		case quote != 0:
			if b == quote {
				quote = 0
			}
		case b == '#' && begins:
			end := bytes.IndexByte(data[i:], '\n')
			if end < 0 {
				return nil
			}
			i += end - 1
		case (b == '"' || b == '\'') && begins:
			quote = b
		case b == '[' || b == '{':
			if depth++; depth > maxDepth {
				return &Error{Line: 1 + bytes.Count(data[:i], []byte("\n")), Column: utf8.RuneCount(data[bytes.LastIndexByte(data[:i], '\n')+1:i]) + 1,
					Msg: fmt.Sprintf("nested more than %d deep", maxDepth)}
			}
		case b == ']' || b == '}':
			depth = max(0, depth-1)
		}
		before = b
	}
	return nil
}

// single refuses a second document, of which nothing would be read.
func single(tokens token.Tokens) error {
	begun := false
	for _, t := range tokens {
		switch header := t.Type == token.DocumentHeaderType; {
		case header && begun:
			return atToken(t, "a second document: one file is one document")
		case t.Type == token.CommentType:
		default:
			begun = true
		}
	}
	return nil
}

// shallow refuses what is nested too deeply. In flow style a bracket goes one deeper, in
// block style whatever begins further to the right than what it belongs to.
func shallow(tokens token.Tokens) error {
	var columns []int // of the blocks around the token
	flow := 0
	for _, t := range tokens {
		switch t.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow = max(0, flow-1)
		case token.CommentType, token.MappingValueType:
		default:
			if flow > 0 {
				continue
			}
			for len(columns) > 0 && columns[len(columns)-1] > t.Position.Column {
				columns = columns[:len(columns)-1]
			}
			if len(columns) == 0 || columns[len(columns)-1] < t.Position.Column {
				columns = append(columns, t.Position.Column)
			}
		}
		if len(columns)+flow > maxDepth {
			return atToken(t, "nested more than %d deep", maxDepth)
		}
	}
	return nil
}

// unambiguous refuses numbers that are not what they look like: 0650 is 424 to YAML 1.1
// and 650 to people, and a fraction is no number of ours.
func unambiguous(tokens token.Tokens) error {
	for _, t := range tokens {
		switch t.Type {
		case token.IntegerType, token.OctetIntegerType, token.StringType:
			if leadingZero(t.Value) {
				return atToken(t, "%s: a number with a leading 0 is octal to some: write it without, or a text in quotes", t.Value)
			}
		case token.FloatType, token.InfinityType, token.NanType:
			return atToken(t, "%s: want a whole number, or a text in quotes", t.Value)
		}
	}
	return nil
}

// untagged refuses tags, such as !!str: no key needs one, and the library panics at a scalar with one in the place of a
// list.
func untagged(tokens token.Tokens) error {
	for _, t := range tokens {
		if t.Type == token.TagType {
			return atToken(t, "%s: tags are not taken", t.Value)
		}
	}
	return nil
}

// leadingZero reports whether s is two or more digits, of which the first is 0.
func leadingZero(s string) bool {
	s = strings.TrimLeft(s, "+-")
	return len(s) > 1 && s[0] == '0' && strings.Trim(s, "0123456789_") == ""
}

func atToken(t *token.Token, format string, args ...any) *Error {
	e := saying(format, args...)
	e.setPosition(t)
	return e
}

// bounded refuses aliases that refer to themselves, or that make the document larger than
// it may be.
func bounded(doc *ast.File) error {
	a := anchors{values: map[string]ast.Node{}, sizes: map[string]int{}}
	for _, d := range doc.Docs {
		ast.Walk(&a, d.Body)
		if n, err := a.size(d.Body); err != nil {
			return err
		} else if n > maxNodes {
			return at(d.Body, "aliases make it %d values: want at most %d", n, maxNodes)
		}
	}
	return nil
}

// anchors computes how much a node is with its aliases replaced.
type anchors struct {
	values map[string]ast.Node
	sizes  map[string]int // -1: being computed
}

// Visit implements [ast.Visitor].
func (a *anchors) Visit(n ast.Node) ast.Visitor {
	if anchor, ok := n.(*ast.AnchorNode); ok {
		a.values[anchor.Name.String()] = anchor.Value
	}
	return a
}

// size counts the nodes of n, up to a little more than maxNodes.
func (a *anchors) size(n ast.Node) (total int, err error) {
	count := func(nodes ...ast.Node) {
		for _, child := range nodes {
			if err == nil && total <= maxNodes {
				var more int
				more, err = a.size(child)
				total += more
			}
		}
	}
	total = 1
	switch n := n.(type) {
	case *ast.MappingNode:
		for _, v := range n.Values {
			count(v.Key, v.Value)
		}
	case *ast.MappingValueNode:
		count(n.Key, n.Value)
	case *ast.SequenceNode:
		count(n.Values...)
	case *ast.AnchorNode:
		count(n.Value)
	case *ast.TagNode:
		count(n.Value)
	case *ast.MappingKeyNode:
		count(n.Value)
	case *ast.AliasNode:
		return a.alias(n)
	}
	return total, err
}

func (a *anchors) alias(n *ast.AliasNode) (int, error) {
	name := n.Value.String()
	value, ok := a.values[name]
	if !ok {
		return 0, at(n, "there is no anchor called %s", name)
	}
	switch size, known := a.sizes[name]; {
	case known && size < 0:
		return 0, at(n, "%s refers to itself", name)
	case known:
		return size, nil
	}
	a.sizes[name] = -1
	size, err := a.size(value)
	a.sizes[name] = size
	return size, err
}

// decode stores the document's content in into. Unknown keys are refused.
func decode(doc *ast.File, into any) error {
	return survive(func() error {
		return yaml.NewDecoder(bytes.NewReader(nil), yaml.DisallowUnknownField()).DecodeFromNode(doc.Docs[0].Body, into)
	})
}

// empty reports whether there is nothing in the document.
func empty(doc *ast.File) bool { return len(doc.Docs) == 0 || doc.Docs[0].Body == nil }
