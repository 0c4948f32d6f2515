package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Load reads and checks the file at path, with the table names of this host. An
// error is [Errors] unless the file could not be read.
func Load(path string) (*Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(path, data, HostTables())
}

// Parse decodes and checks data; name is used in errors only. Every default is
// filled in and every table name is resolved with tables. An error is [Errors].
func Parse(name string, data []byte, tables TableNames) (*Config, error) {
	c := &Config{BGP: BGP{TTLSecurity: true, AddPath: true}}
	doc, err := decode(data, c)
	if err != nil {
		return nil, Errors{fromYAML(err)}.sorted(name)
	}
	k := &checker{doc: doc}
	k.resolve(c, tables)
	c.fill()
	k.config(c)
	if len(k.errs) > 0 {
		return nil, k.errs.sorted(name)
	}
	return c, nil
}

// ParseGuests decodes one guest or a list of guests from YAML or JSON and checks
// what can be checked without the rest of the inventory.
func ParseGuests(name string, data []byte) ([]Guest, error) {
	var guests []Guest
	doc, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, Errors{fromYAML(err)}.sorted(name)
	}
	path := "$"
	if single(doc) {
		guests = make([]Guest, 1)
		err = strict(data, &guests[0])
	} else {
		path = "$[%d]"
		err = strict(data, &guests)
	}
	if errors.Is(err, io.EOF) {
		return nil, Errors{{Msg: "no guest"}}.sorted(name)
	}
	if err != nil {
		return nil, Errors{fromYAML(err)}.sorted(name)
	}
	k := &checker{doc: doc}
	for i := range guests {
		guests[i].fill()
		at := path
		if path != "$" {
			at = fmt.Sprintf(path, i)
		}
		k.guest(at, guests[i])
	}
	if len(k.errs) > 0 {
		return nil, k.errs.sorted(name)
	}
	return guests, nil
}

func single(doc *ast.File) bool {
	if len(doc.Docs) == 0 || doc.Docs[0].Body == nil {
		return false
	}
	switch doc.Docs[0].Body.Type() {
	case ast.MappingType, ast.MappingValueType:
		return true
	}
	return false
}

func decode(data []byte, c *Config) (*ast.File, error) {
	doc, err := parser.ParseBytes(data, 0)
	if err != nil {
		return nil, err
	}
	if len(doc.Docs) == 0 || doc.Docs[0].Body == nil {
		return nil, &Error{Line: 1, Column: 1, Msg: "the file is empty"}
	}
	if len(doc.Docs) > 1 {
		return nil, at(doc.Docs[1].Body, "a second document: one file is one configuration")
	}
	return doc, strict(data, c)
}

// strict decodes with unknown and duplicate keys refused.
func strict(data []byte, into any) error {
	return yaml.NewDecoder(bytes.NewReader(data), yaml.DisallowUnknownField()).Decode(into)
}
