// Package apitest holds answers of hvrouter's API against docs/openapi.json, for tests.
package apitest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
)

// Document is an OpenAPI document against which answers are held.
type Document struct {
	doc      map[string]any
	resolved map[string]*jsonschema.Resolved
}

// Read reads the document in a file.
func Read(file string) (*Document, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	d := &Document{resolved: map[string]*jsonschema.Resolved{}}
	return d, json.Unmarshal(text, &d.doc)
}

// At returns what the document has below keys, nil if it does not.
func (d *Document) At(keys ...string) map[string]any {
	m := d.doc
	for _, k := range keys {
		m, _ = m[k].(map[string]any)
	}
	if r, ok := m["$ref"].(string); ok && len(keys) > 0 && keys[len(keys)-1] != "schema" {
		return d.At(strings.Split(strings.TrimPrefix(r, "#/"), "/")...)
	}
	return m
}

// Parameter is one of a request.
type Parameter struct {
	Name     string
	Path     bool // it is a part of the path, otherwise of the query
	Required bool
}

// Gets returns the paths that have a GET, in order, with its parameters.
func (d *Document) Gets() (paths []string, parameters map[string][]Parameter) {
	parameters = map[string][]Parameter{}
	for _, path := range slices.Sorted(maps.Keys(d.At("paths"))) {
		get := d.At("paths", path, "get")
		if get == nil {
			continue
		}
		paths = append(paths, path)
		list, _ := get["parameters"].([]any)
		for _, p := range list {
			m, _ := p.(map[string]any)
			name, _ := m["name"].(string)
			required, _ := m["required"].(bool)
			parameters[path] = append(parameters[path], Parameter{name, m["in"] == "path", required})
		}
	}
	return paths, parameters
}

// Valid returns why a JSON text does not fit a schema of the document. Fields that it does not have are
// an error, although clients ignore them.
func (d *Document) Valid(schema map[string]any, text []byte) error {
	if schema == nil {
		return errors.New("has no schema")
	}
	r, err := d.resolve(schema)
	if err != nil {
		return err
	}
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		return err
	}
	return r.Validate(v)
}

// resolve makes a schema of the document ready for use, and takes the liberty of other fields from it.
func (d *Document) resolve(schema map[string]any) (*jsonschema.Resolved, error) {
	key, err := json.Marshal(schema)
	if err != nil || d.resolved[string(key)] != nil {
		return d.resolved[string(key)], err
	}
	all := maps.Clone(d.At("components", "schemas"))
	for name, s := range all {
		s := maps.Clone(s.(map[string]any))
		s["additionalProperties"] = false
		all[name] = s
	}
	root := maps.Clone(schema)
	root["$defs"] = all
	data, err := json.Marshal(root)
	if err != nil {
		return nil, err
	}
	var s jsonschema.Schema
	if err := json.Unmarshal(bytes.ReplaceAll(data, []byte("#/components/schemas/"), []byte("#/$defs/")), &s); err != nil {
		return nil, err
	}
	r, err := s.Resolve(nil)
	if err == nil {
		d.resolved[string(key)] = r
	}
	return r, err
}

// EventStream is the media type of events, one JSON object a line: Check takes one of them.
const EventStream = "application/x-ndjson"

// Check returns why an answer is not as the document says. path is the document's, such as
// "/v1/guests/{name}"; "" is one that there is not.
func (d *Document) Check(method, path string, code int, header http.Header, body []byte) error {
	response := d.At("components", "responses", strings.ReplaceAll(http.StatusText(code), " ", ""))
	if path != "" {
		response = d.At("paths", path, strings.ToLower(method), "responses", strconv.Itoa(code))
	}
	if response == nil {
		return fmt.Errorf("status %d is not described: %s", code, body)
	}
	media, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	content, _ := response["content"].(map[string]any)
	one, ok := content[media].(map[string]any)
	if err != nil || !ok {
		return fmt.Errorf("%d with %q is not described, but %v", code, header.Get("Content-Type"), slices.Collect(maps.Keys(content)))
	}
	if media != "application/json" && media != EventStream {
		return nil
	}
	schema, _ := one["schema"].(map[string]any)
	if err := d.Valid(schema, body); err != nil {
		return fmt.Errorf("%d: %w in %s", code, err, body)
	}
	return nil
}
