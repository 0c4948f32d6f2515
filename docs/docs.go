// Package docs holds the documents that programs serve.
package docs

import _ "embed"

// OpenAPI describes the API of hvrouter's daemon, as JSON (OpenAPI 3.1). It is generated: `go test
// ./examples/hvrouter/api -run TestOpenAPI -update`. It must not be changed.
//
//go:embed openapi.json
var OpenAPI []byte
