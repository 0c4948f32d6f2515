package config

import (
	"fmt"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/hyperfib/hyperfib/examples/hvrouter/files"
)

// Load reads and checks the file at path, with the table names of this host. An
// error is [Errors] unless the file could not be read, or is no regular one: a FIFO would be waited for.
func Load(path string) (*Config, error) {
	data, err := files.ReadRegular(path, MaxSize)
	if err != nil {
		return nil, err
	}
	return Parse(path, data, HostTables())
}

// Parse decodes and checks data; name is used in errors only. Every default is
// filled in, every table name is resolved with tables, and the files that md5-file names are read.
// An error is [Errors]; it quotes no key.
func Parse(name string, data []byte, tables TableNames) (*Config, error) {
	c := &Config{BGP: BGP{TTLSecurity: true, AddPath: true, HoldTime: Duration{90 * time.Second}}}
	doc, err := parse(data)
	switch {
	case err == nil && empty(doc):
		err = &Error{Line: 1, Column: 1, Msg: "the file is empty"}
	case err == nil:
		if old := oldNames(doc, ""); old.any() {
			return nil, discreet(data, old.sorted(name))
		}
		err = decode(doc, c)
	}
	if err != nil {
		return nil, discreet(data, Errors{fromYAML(err)}.sorted(name))
	}
	k := &checker{doc: doc}
	unpreferred := k.zeros("")
	k.resolve(c, tables)
	k.secrets(c)
	c.fill()
	c.unprefer(unpreferred)
	k.config(c)
	if k.errs.any() {
		return nil, discreet(data, k.errs.sorted(name))
	}
	c.from, c.text = source{file: name, doc: doc, path: "$"}, string(data)
	return c, nil
}

// Text returns the text that the configuration was parsed from, "" if it was not.
func (c *Config) Text() string { return c.text }

// ParseGuests decodes one guest or a list of guests from YAML or JSON; [Admission] and
// [Claims] check them. name is used in errors only; they quote no key.
func ParseGuests(name string, data []byte) ([]Entry, error) {
	entries, k, err := parseGuests(name, data)
	if err != nil {
		return nil, discreet(data, Errors{fromYAML(err)}.sorted(name))
	}
	if k.errs.any() {
		return nil, discreet(data, k.errs.sorted(name))
	}
	return entries, nil
}

func parseGuests(name string, data []byte) ([]Entry, *checker, error) {
	doc, err := parse(data)
	if err != nil {
		return nil, nil, err
	}
	if empty(doc) || doc.Docs[0].Body.Type() == ast.NullType {
		return nil, nil, &Error{Msg: "no guest"}
	}
	if old := oldNames(doc, "guests"); old.any() {
		return nil, &checker{doc: doc, errs: old}, nil
	}
	guests, path := []Guest(nil), "$[%d]"
	switch doc.Docs[0].Body.Type() {
	case ast.MappingType, ast.MappingValueType:
		guests, path = make([]Guest, 1), "$"
		err = decode(doc, &guests[0])
	default:
		err = decode(doc, &guests)
	}
	if err != nil {
		return nil, nil, err
	}
	k := &checker{doc: doc}
	unpreferred := k.zeros(map[bool]string{true: "guests[]", false: "guests"}[path == "$"])
	entries := make([]Entry, len(guests))
	for i, g := range guests {
		g.fill()
		if unpreferred["guests[]"] || unpreferred[fmt.Sprintf("guests[%d]", i)] {
			g.LocalPref = 0
		}
		at := path
		if path != "$" {
			at = fmt.Sprintf(path, i)
		}
		entries[i] = Entry{g, source{file: name, doc: doc, path: at}}
	}
	return entries, k, nil
}

// unprefer sets the preferences that the file gives as 0, which has no default.
func (c *Config) unprefer(list map[string]bool) {
	for i := range c.Guests {
		if list[fmt.Sprintf("guests[%d]", i)] {
			c.Guests[i].LocalPref = 0
		}
	}
	for i := range c.GuestTemplates {
		if list[fmt.Sprintf("guest-templates[%d]", i)] {
			c.GuestTemplates[i].LocalPref = 0
		}
	}
}
