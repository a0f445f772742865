package base

import (
	"maps"
	"slices"
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	tftypes "github.com/hashicorp/terraform-plugin-framework/types"
)

type tags = map[string]string

func attribute(m tags) tftypes.Map {
	if m == nil {
		return tftypes.MapNull(tftypes.StringType)
	}
	return mapValue(m, false)
}

func TestTagsFromAWS(t *testing.T) {
	ours := tags{TagName: "main", TagManagedBy: "terraform", "Name": "main", "aws:cloudformation:stack": "x"}
	with := func(more tags) tags { return merge(ours, more) }
	for name, tc := range map[string]struct {
		actual, defaults, state tags // state is the attribute tags; nil is null
		tags, all               tags // nil is null
	}{
		"only ours":                   {ours, nil, nil, nil, tags{}},
		"none given, empty map given": {ours, nil, tags{}, tags{}, tags{}},
		"the customer's":              {with(tags{"a": "1"}), nil, tags{"a": "1"}, tags{"a": "1"}, tags{"a": "1"}},
		"one too many":                {with(tags{"a": "1", "b": "2"}), nil, tags{"a": "1"}, tags{"a": "1", "b": "2"}, tags{"a": "1", "b": "2"}},
		"one is gone":                 {ours, nil, tags{"a": "1"}, tags{}, tags{}},
		"by default":                  {with(tags{"team": "core"}), tags{"team": "core"}, nil, nil, tags{"team": "core"}},
		"by default and given":        {with(tags{"team": "core"}), tags{"team": "core"}, tags{"team": "core"}, tags{"team": "core"}, tags{"team": "core"}},
		"default changed elsewhere":   {with(tags{"team": "other"}), tags{"team": "core"}, nil, tags{"team": "other"}, tags{"team": "other"}},
		"a Name of the customer's":    {with(tags{"Name": "shown"}), nil, tags{"Name": "shown"}, tags{"Name": "shown"}, tags{"Name": "shown"}},
		"a Name like ours, asked for": {ours, nil, tags{"Name": "main"}, tags{"Name": "main"}, tags{"Name": "main"}},
		"a Name set elsewhere":        {with(tags{"Name": "other"}), nil, nil, tags{"Name": "other"}, tags{"Name": "other"}},
	} {
		own, all := TagsFromAWS(tc.actual, tc.defaults, attribute(tc.state))
		if !own.Equal(attribute(tc.tags)) || !all.Equal(attribute(tc.all)) {
			t.Errorf("%s: tags %s, tags_all %s; want %v, %v", name, own, all, tc.tags, tc.all)
		}
	}
}

// A difference between what is written and read would be a permanent diff.
func TestTagsRoundTrip(t *testing.T) {
	for _, tc := range []struct{ defaults, given tags }{
		{nil, nil}, {nil, tags{}}, {tags{"team": "core"}, nil}, {tags{"team": "core"}, tags{"team": "mine", "a": "1"}}, {nil, tags{"Name": "shown"}},
		{tags{"Name": "default"}, nil},
	} {
		tagsAll := mapValue(merge(tc.defaults, tc.given), false)
		actual := AllTags("main", tagsAll, tags{TagCluster: "production"})
		own, all := TagsFromAWS(actual, tc.defaults, attribute(tc.given))
		if !own.Equal(attribute(tc.given)) || !all.Equal(tagsAll) {
			t.Errorf("default_tags %v, tags %v come back as %s, %s", tc.defaults, tc.given, own, all)
		}
		if !IsManagedAs("main", actual) || IsManagedAs("other", actual) {
			t.Errorf("%v: IsManagedAs is wrong", actual)
		}
	}
}

func TestTagChanges(t *testing.T) {
	set, remove := TagChanges(tags{"keep": "1", "change": "1", "drop": "1", "aws:x": "1"}, tags{"keep": "1", "change": "2", "add": ""})
	if !maps.Equal(set, tags{"change": "2", "add": ""}) || !slices.Equal(remove, []string{"drop"}) {
		t.Errorf("set %v, remove %v", set, remove)
	}
}

func TestReservedTagsAreInvalid(t *testing.T) {
	for key, refused := range map[string]bool{"aws:x": true, "AWS:x": true, "xeroops:name": true, "Xeroops:y": true, "xeroops": false, "team": false, "Name": false} {
		var resp validator.StringResponse
		noReservedPrefix{}.ValidateString(t.Context(), validator.StringRequest{ConfigValue: tftypes.StringValue(key)}, &resp)
		if resp.Diagnostics.HasError() != refused {
			t.Errorf("%s: refused %v, want %v", key, resp.Diagnostics.HasError(), refused)
		}
	}
}
