package bfd

import (
	"fmt"

	"github.com/hyperfib/hyperfib/internal/enum"
)

// AuthType is the Auth Type field of RFC 5880, Section 4.1.
type AuthType uint8

// Authentication types of RFC 5880, Section 4.1.
const (
	AuthNone           AuthType = 0
	AuthSimple         AuthType = 1 // password in clear text
	AuthMD5            AuthType = 2 // keyed MD5
	AuthMeticulousMD5  AuthType = 3 // keyed MD5, sequence number rises with every packet
	AuthSHA1           AuthType = 4 // keyed SHA1
	AuthMeticulousSHA1 AuthType = 5 // keyed SHA1, sequence number rises with every packet
)

var authNames = [...]string{"none", "simple password", "keyed md5", "meticulous keyed md5", "keyed sha1", "meticulous keyed sha1"}

// String returns the name of RFC 5880, Section 4.1, in lower case.
func (t AuthType) String() string { return enum.String("AuthType", authNames[:], t) }

// AuthKey is a shared secret and the key id that names it on the wire.
type AuthKey struct {
	ID     uint8  // Auth Key ID
	Secret string // 1-16 octets for passwords and MD5, 1-20 for SHA1
}

// Auth says how the packets of a session are authenticated. Both ends must use
// the same type. The zero Auth is no authentication.
type Auth struct {
	Type AuthType // AuthNone: no authentication
	// Keys are the secrets in use. The first one signs what we send; all of them
	// are accepted, so that a key can be changed without losing the session.
	Keys []AuthKey
}

// secretMax is the longest secret of each type (RFC 5880, Sections 4.2-4.4).
var secretMax = [...]int{0, 16, 16, 16, 20, 20}

// check reports whether the type is known and every secret has a length it allows.
func (a Auth) check() error {
	if int(a.Type) >= len(secretMax) {
		return &ConfigError{"Auth", fmt.Sprintf("type %d is unknown", a.Type)}
	}
	if (a.Type == AuthNone) != (len(a.Keys) == 0) {
		return &ConfigError{"Auth", "a type and keys need each other"}
	}
	for _, k := range a.Keys {
		if len(k.Secret) == 0 || len(k.Secret) > secretMax[a.Type] {
			return &ConfigError{"Auth", fmt.Sprintf("secret of key %d has %d octets, not 1-%d", k.ID, len(k.Secret), secretMax[a.Type])}
		}
	}
	return nil
}
