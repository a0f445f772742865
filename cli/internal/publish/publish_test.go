package publish

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/xeroops/xeroops/internal/bundle"
)

// A setting that is not compared would be ignored when the version is deployed again.
func TestDifferencesNameEachSetting(t *testing.T) {
	identity := map[string]bool{"schema": true, "application": true, "version": true, "created_at": true, "created_by": true, "wheels": true}
	value := reflect.TypeFor[bundle.Manifest]()
	for _, field := range reflect.VisibleFields(value) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "" || identity[name] {
			continue
		}
		var changed bundle.Manifest
		content := `{"` + name + `": "x"}`
		if field.Type.Kind() == reflect.Int {
			content = `{"` + name + `": 7}`
		}
		_ = json.Unmarshal([]byte(content), &changed) // types of Python's values reject x, and are set below
		if reflect.DeepEqual(changed, bundle.Manifest{}) {
			reflect.ValueOf(&changed).Elem().FieldByIndex(field.Index).SetString("x")
		}
		if got := Differences(changed, bundle.Manifest{}); len(got) != 1 || !strings.HasPrefix(got[0], name+" is ") {
			t.Errorf("a change of %s: %q", name, got)
		}
	}
}
