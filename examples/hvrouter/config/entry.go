package config

import (
	"fmt"
	"slices"

	"github.com/goccy/go-yaml/ast"
)

// Entry is a guest as it was read, which remembers where.
type Entry struct {
	Guest
	from source
}

// source is where in a document something stands. The zero value is nowhere.
type source struct {
	file         string
	doc          *ast.File
	path         string // of YAML
	line, column int    // without a document
}

// errorAt makes an error about what stands below the source at a YAML path such as
// ".ipv4[0]".
func (s source) errorAt(below, format string, args ...any) *Error {
	e := &Error{Line: s.line, Column: s.column, Msg: fmt.Sprintf(format, args...)}
	if s.doc != nil {
		k := checker{doc: s.doc}
		e = at(k.find(s.path+below), "%s", said(e.Msg))
	}
	e.File = s.file
	return e
}

// Brief returns the entry without the document that it was read from: its errors have the
// place of the guest then, whatever of it they are about. A document takes some hundred
// times the memory of the guests in it.
func (e Entry) Brief() Entry {
	if e.from.doc != nil {
		first := e.from.errorAt("", "")
		e.from = source{file: e.from.file, line: first.Line, column: first.Column}
	}
	return e
}

// Errors says of each problem of the guest where it is.
func (e Entry) Errors(problems []Problem) Errors {
	var list Errors
	for _, p := range problems {
		err := e.from.errorAt(p.Field, "%s", p.Msg)
		err.More = p.More
		list = append(list, err)
	}
	return list
}

// Entries returns the guests of the file, with where they stand in it.
func (c *Config) Entries() []Entry {
	list := make([]Entry, len(c.Guests))
	for i, g := range c.Guests {
		list[i] = Entry{g, c.from}
		list[i].from.path = fmt.Sprintf("$.guests[%d]", i)
	}
	return list
}

// Forget drops the document that the configuration was read from, once nobody asks for
// places in it any more.
func (c *Config) Forget() { c.from.doc = nil }

// Where returns the place of a YAML path of the file, such as $.domains[0].table, as
// "file:line:column: ", and "" if the path is empty or the configuration came from no file.
func (c *Config) Where(path string) string {
	if c.from.doc == nil || path == "" {
		return ""
	}
	e := source{file: c.from.file, doc: c.from.doc}.errorAt(path, "")
	return fmt.Sprintf("%s:%d:%d: ", e.File, e.Line, e.Column)
}

// DomainPath returns the YAML path of a domain of the file.
func (c *Config) DomainPath(name string) string {
	return fmt.Sprintf("$.domains[%d]", slices.IndexFunc(c.Domains, func(d Domain) bool { return d.Name == name }))
}
