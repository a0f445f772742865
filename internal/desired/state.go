// Package desired holds which version of each application is to run: one object
// per application in the uploads bucket. Whoever may write an application's object
// may deploy it, and nothing else; the registry carries hints only. Which
// application a port and a route prefix belong to is in a ledger that management
// writes, since deployers can write anything into their own objects.
package desired

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/xeroops/xeroops/internal/bundle"
)

// Schema is the version of [State] and [Ledger] that this code reads and writes.
const Schema = 1

// ObjectName is the name of an application's object, beside its versions.
const ObjectName = "desired.json"

// maxByBytes bounds the name of a deployer.
const maxByBytes = 256

// State is the content of an application's object.
type State struct {
	Schema      int       `json:"schema"`
	Application string    `json:"application"`
	Version     string    `json:"version"`
	SHA256      string    `json:"sha256"`             // of the version's bundle.json, hexadecimal
	Previous    string    `json:"previous,omitempty"` // the version that a rollback goes back to
	RoutePrefix string    `json:"route_prefix"`
	Port        int       `json:"port"`
	Since       time.Time `json:"since"` // when the version became the desired one, by the deployer's clock
	By          string    `json:"by"`    // the deployer, for others to read
}

// Check returns the first error in s, or nil.
func (s State) Check() error {
	if s.Schema != Schema {
		return fmt.Errorf("schema %d: this version reads schema %d", s.Schema, Schema)
	}
	if err := bundle.CheckName(s.Application); err != nil {
		return err
	}
	if err := bundle.CheckVersion(s.Version); err != nil {
		return err
	}
	if s.Previous != "" {
		if err := bundle.CheckVersion(s.Previous); err != nil {
			return fmt.Errorf("previous: %w", err)
		}
	}
	if sum, err := hex.DecodeString(s.SHA256); err != nil || len(sum) != 32 || hex.EncodeToString(sum) != s.SHA256 {
		return fmt.Errorf("sha256 %.70q: want 64 hexadecimal digits in lower case", s.SHA256)
	}
	if s.Since.IsZero() || len(s.By) > maxByBytes {
		return fmt.Errorf("since has to be set, and by to have at most %d bytes", maxByBytes)
	}
	return bundle.CheckRoute(s.Port, s.RoutePrefix, "/")
}

// Decode parses the object of an application. It rejects anything that Encode would
// not write.
func Decode(application string, content []byte) (State, error) {
	var s State
	err := decodeStrictly(content, &s)
	if err == nil {
		err = s.Check()
	}
	if err == nil && s.Application != application {
		err = fmt.Errorf("it is of application %s", s.Application)
	}
	if err != nil {
		return State{}, err
	}
	return s, nil
}

func decodeStrictly(content []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("it has more than one JSON value")
	}
	return nil
}
