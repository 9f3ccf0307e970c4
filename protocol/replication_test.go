package protocol

import "testing"

func TestBooleansAreReadAsPostgresDoes(t *testing.T) {
	for value, want := range map[string]string{
		"true": "t", "tru": "t", "T": "t", "yes": "t", "y": "t", "on": "t", "ON": "t", "1": "t",
		"false": "f", "f": "f", "no": "f", "n": "f", "off": "f", "of": "f", "0": "f",
		"": "", "o": "", "2": "", "tt": "", "offf": "", "yess": "", " true": "",
	} {
		result, ok := parseBool(value)
		if got := map[bool]string{true: map[bool]string{true: "t", false: "f"}[result], false: ""}[ok]; got != want {
			t.Errorf("%q: got %q, want %q", value, got, want)
		}
	}
}
