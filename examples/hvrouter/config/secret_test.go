package config

import (
	"fmt"
	"strings"
	"testing"
)

// TestSecretsInErrors: errors quote nothing of a key, wherever what they quote is cut off. A quote that is not closed takes the
// lines in that follow, a key among them.
func TestSecretsInErrors(t *testing.T) {
	const key = "kryptonite42"
	for what, text := range map[string]string{
		"a quote that is not closed": "router-id: \"0.0.1.1 %s\n  md5: kryptonite42\n  x\"\nas: 1\n",
		"a single quote":             "router-id: '0.0.1.1 %s\n  md5: \"kryptonite42\"\n  x'\nas: 1\n",
		"JSON":                       "{\"as\": 1, \"router-id\": '0.0.1.1 %s\n  ,\"md5\":\"kryptonite42\"}'}\n",
		"a key of two words":         "router-id: \"0.0.1.1 %s\n  md5: ab kryptonite42\n  x\"\nas: 1\n",
		"a key with a comma":         "router-id: \"0.0.1.1 %s\n  md5: ab,kryptonite42\n  x\"\nas: 1\n",
		"a key on a line of its own": "router-id: \"0.0.1.1 %s\n  md5:\n    kryptonite42\n  x\"\nas: 1\n",
		"an escape":                  "router-id: \"0.0.1.1 %s\n  md5: kr\\x79ptonite42\n  x\"\nas: 1\n",
		"the key elsewhere":          "router-id: \"%skryptonite42\"\nas: 1\nbgp: {md5: kryptonite42}\n",
		"a longer key":               "router-id: \"%skryptonite42\"\nas: 1\nbgp: {md5: kryp}\nsessions: [{md5: kryptonite42}]\n",
		"a key that is quoted badly": "router-id: \"%sk\\\"ryptonite42\"\nas: 1\nbgp:\n  md5: k\"ryptonite42\n",
		"a number":                   "as: \"%s\n  md5: kryptonite42\n  x\"\n",
		"an unknown key":             "as: 1\n\"%s md5: kryptonite42\": 1\n",
		"a name":                     "as: 1\nguests: [{name: \"%s\n  md5: kryptonite42\n  x\"}]\n",
		"an interface":               "as: 1\nguests: [{name: a, interface: \"%s\n  md5: kryptonite42\n  x\"}]\n",
	} {
		for n := range 2 * mostQuoted {
			text := fmt.Sprintf(text, strings.Repeat("p", n))
			_, err := Parse("f", []byte(text), nil)
			if err == nil {
				t.Fatalf("%s: no error", what)
			}
			if s := err.Error(); strings.Contains(s, "kr") || strings.Contains(s, "te42") {
				t.Fatalf("%s, %d octets before: %v", what, n, err)
			}
			if strings.Contains(err.Error(), "%!") {
				t.Fatalf("%s: %v", what, err)
			}
		}
	}
	_, err := ParseGuests("f", []byte("name: \"vm1\n  md5: kryptonite42\n  x\"\nrate: fast\n"+"ipv4: [\"x\n md5: kryptonite42\"]\n"))
	if err == nil || strings.Contains(err.Error(), key) {
		t.Errorf("of a guest: %v", err)
	}
	_, err = Parse("f", []byte("router-id: \"0.0.1.1\n  md5: kryptonite42\n  x\"\nas: 1\n"), nil)
	if err == nil || !strings.HasPrefix(err.Error(), `f:1:12: "0.0.1.1 md5: (secret)" is not an IP address`) {
		t.Errorf("%v", err)
	}
}
