package base

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	tftypes "github.com/hashicorp/terraform-plugin-framework/types"
)

// managedTagsKey is the key in a resource's private state of the keys that the
// provider has set, as a TagKeys. tags_all is not enough: a resource may be several
// objects, and a key that vanished from the one that Read looks at, or whose removal
// failed half-way, is still to be removed from the others.
const managedTagsKey = "tag_keys"

// TagKeys are keys of customers' tags: those of the whole resource under "", and
// those of one part, such as a node, under its name.
type TagKeys map[string][]string

// add adds the keys of an attribute's tags.
func (k TagKeys) add(part string, tags tftypes.Map) {
	for key, value := range tags.Elements() {
		if !value.IsNull() && !slices.Contains(k[part], key) {
			k[part] = append(k[part], key)
		}
	}
	slices.Sort(k[part])
}

// ManagedTags tells the tags of one object that the provider set from those of
// others. The zero value is that of a new object, on which the provider set none.
type ManagedTags struct {
	Former   []string // keys that the provider set before
	Settings TagSettings
}

// Changes returns the tags to set and the keys to remove to change the provider's
// tags from actual to wanted. It removes only what the provider set before, and
// leaves out what ignore_tags has.
func (m ManagedTags) Changes(actual, wanted map[string]string) (set map[string]string, remove []string) {
	set = map[string]string{}
	for k, v := range wanted {
		if have, ok := actual[k]; (!ok || have != v) && !m.Settings.Ignores(k) {
			set[k] = v
		}
	}
	for _, k := range m.Former {
		_, exists := actual[k]
		_, stays := wanted[k]
		if exists && !stays && !isReserved(k) && !m.Settings.Ignores(k) {
			remove = append(remove, k)
		}
	}
	slices.Sort(remove)
	return set, remove
}

// Apply returns actual with the changes.
func (m ManagedTags) Apply(actual, wanted map[string]string) map[string]string {
	set, remove := m.Changes(actual, wanted)
	result := merge(actual, set)
	maps.DeleteFunc(result, func(k, _ string) bool { return slices.Contains(remove, k) })
	return result
}

// privateReader and privateWriter are the private state of a resource.
type privateReader interface {
	GetKey(ctx context.Context, key string) ([]byte, diag.Diagnostics)
}

type privateWriter interface {
	SetKey(ctx context.Context, key string, value []byte) diag.Diagnostics
}

// ManagedTags returns what is known of an existing resource's tags during Update.
func (p *ProviderData) ManagedTags(ctx context.Context, private privateReader, diags *diag.Diagnostics) ManagedTags {
	return ManagedTags{Former: readTagKeys(ctx, private, diags)[""], Settings: p.Tags}
}

// ManagedTagsOfParts is like ManagedTags for each part that has tags of its own.
func (p *ProviderData) ManagedTagsOfParts(ctx context.Context, private privateReader, diags *diag.Diagnostics) func(part string) ManagedTags {
	keys := readTagKeys(ctx, private, diags)
	return func(part string) ManagedTags {
		return ManagedTags{Former: slices.Concat(keys[""], keys[part]), Settings: p.Tags}
	}
}

// KeepManagedTags keeps the keys of the tags that a resource has after a successful
// Update, in place of all earlier ones.
func KeepManagedTags(ctx context.Context, private privateWriter, tagsAll tftypes.Map, ofParts map[string]tftypes.Map) diag.Diagnostics {
	keys := TagKeys{}
	keys.add("", tagsAll)
	for part, tags := range ofParts {
		keys.add(part, tags)
	}
	return writeTagKeys(ctx, private, keys)
}

func readTagKeys(ctx context.Context, private privateReader, diags *diag.Diagnostics) TagKeys {
	value, d := private.GetKey(ctx, managedTagsKey)
	diags.Append(d...)
	keys := TagKeys{}
	_ = json.Unmarshal(value, &keys) // nothing in the state of an earlier version
	if keys == nil {
		keys = TagKeys{}
	}
	return keys
}

func writeTagKeys(ctx context.Context, private privateWriter, keys TagKeys) diag.Diagnostics {
	value, err := json.Marshal(keys)
	if err != nil {
		return diag.Diagnostics{diag.NewErrorDiagnostic("Save the keys of tags", err.Error())}
	}
	return private.SetKey(ctx, managedTagsKey, value)
}
