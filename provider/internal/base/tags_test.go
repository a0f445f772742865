package base

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	tftypes "github.com/hashicorp/terraform-plugin-framework/types"
)

type tags = map[string]string

// attribute returns a map attribute; nil is null.
func attribute(m tags) tftypes.Map {
	if m == nil {
		return tftypes.MapNull(tftypes.StringType)
	}
	return mapValue(m)
}

func TestTagsFromAWS(t *testing.T) {
	ours := tags{TagName: "main", TagManagedBy: "terraform", "Name": "main", "aws:cloudformation:stack": "x"}
	with := func(more tags) tags { return merge(ours, more) }
	imported := tags(nil)
	for name, tc := range map[string]struct {
		actual, defaults, state, stateAll tags // state and stateAll are the attributes; nil is null
		tags, all                         tags // nil is null
	}{
		"only ours":                     {ours, nil, nil, tags{}, nil, tags{}},
		"none given, empty map given":   {ours, nil, tags{}, tags{}, tags{}, tags{}},
		"the customer's":                {with(tags{"a": "1"}), nil, tags{"a": "1"}, tags{"a": "1"}, tags{"a": "1"}, tags{"a": "1"}},
		"one of somebody else":          {with(tags{"a": "1", "b": "2"}), nil, tags{"a": "1"}, tags{"a": "1"}, tags{"a": "1"}, tags{"a": "1"}},
		"one is gone":                   {ours, nil, tags{"a": "1"}, tags{"a": "1"}, tags{}, tags{}},
		"by default":                    {with(tags{"team": "core"}), tags{"team": "core"}, nil, tags{"team": "core"}, nil, tags{"team": "core"}},
		"by default and given":          {with(tags{"team": "core"}), tags{"team": "core"}, tags{"team": "core"}, tags{"team": "core"}, tags{"team": "core"}, tags{"team": "core"}},
		"default changed elsewhere":     {with(tags{"team": "other"}), tags{"team": "core"}, nil, tags{"team": "core"}, nil, tags{"team": "other"}},
		"a Name of the customer's":      {with(tags{"Name": "shown"}), nil, tags{"Name": "shown"}, tags{"Name": "shown"}, tags{"Name": "shown"}, tags{"Name": "shown"}},
		"a Name like ours, asked for":   {ours, nil, tags{"Name": "main"}, tags{"Name": "main"}, tags{"Name": "main"}, tags{"Name": "main"}},
		"a Name set elsewhere":          {with(tags{"Name": "other"}), nil, nil, tags{}, nil, tags{"Name": "other"}},
		"imported":                      {with(tags{"a": "1", "team": "core"}), tags{"team": "core"}, nil, imported, tags{"a": "1"}, tags{"a": "1", "team": "core"}},
		"imported with another default": {with(tags{"team": "other"}), tags{"team": "core"}, nil, imported, tags{"team": "other"}, tags{"team": "other"}},
		"imported without tags":         {ours, nil, nil, imported, nil, tags{}},
	} {
		own, all := TagSettings{Default: tc.defaults}.TagsFromAWS(tc.actual, attribute(tc.state), attribute(tc.stateAll))
		if !own.Equal(attribute(tc.tags)) || !all.Equal(attribute(tc.all)) {
			t.Errorf("%s: tags %s, tags_all %s; want %v, %v", name, own, all, tc.tags, tc.all)
		}
	}
}

func TestNullAndIgnoredTagsOfTheStateStay(t *testing.T) {
	state := mapValue(map[string]tftypes.String{"owner": tftypes.StringNull(), "cost": tftypes.StringValue("configured"), "team": tftypes.StringValue("core")})
	settings := TagSettings{IgnoreKeys: []string{"cost"}, IgnorePrefixes: []string{"aws-backup:"}}
	own, all := settings.TagsFromAWS(tags{"owner": "somebody", "cost": "automation", "team": "core", "aws-backup:plan": "daily"}, state, attribute(tags{"team": "core"}))
	if !own.Equal(state) || !all.Equal(attribute(tags{"team": "core"})) {
		t.Errorf("tags %s, tags_all %s", own, all)
	}
	if merged := settings.Merge(tags{"cost": "configured", "team": "core", "aws-backup:plan": "x"}); !maps.Equal(merged, tags{"team": "core"}) {
		t.Errorf("merged tags are %v", merged)
	}
	if (TagSettings{IgnorePrefixes: []string{"x"}}).Ignores(TagName) {
		t.Error("the provider's own tags are ignored")
	}
}

// A difference between what is written and read would be a permanent diff.
func TestTagsRoundTrip(t *testing.T) {
	for _, tc := range []struct{ defaults, given tags }{
		{nil, nil}, {nil, tags{}}, {tags{"team": "core"}, nil}, {tags{"team": "core"}, tags{"team": "mine", "a": "1"}}, {nil, tags{"Name": "shown"}},
		{tags{"Name": "default"}, nil},
	} {
		settings := TagSettings{Default: tc.defaults}
		tagsAll := settings.Merge(tc.given)
		actual := AllTags("main", tagsAll, tags{TagCluster: "production"})
		own, all := settings.TagsFromAWS(actual, attribute(tc.given), mapValue(tagsAll))
		if !own.Equal(attribute(tc.given)) || !all.Equal(mapValue(tagsAll)) {
			t.Errorf("default_tags %v, tags %v come back as %s, %s", tc.defaults, tc.given, own, all)
		}
		if !IsManagedAs("main", actual) || IsManagedAs("other", actual) {
			t.Errorf("%v: IsManagedAs is wrong", actual)
		}
	}
}

func TestOnlyTagsThatTheProviderSetAreRemoved(t *testing.T) {
	managed := ManagedTags{Former: []string{"keep", "drop", "gone", "cost", "aws:y", TagRole}, Settings: TagSettings{IgnoreKeys: []string{"cost", "Name"}}}
	actual := tags{"keep": "1", "change": "1", "drop": "1", "aws:x": "1", "aws:y": "1", "backup": "daily", "cost": "1", TagRole: "app", "Name": "theirs"}
	wanted := tags{"keep": "1", "change": "2", "add": "", "Name": "ours"}
	set, remove := managed.Changes(actual, wanted)
	if !maps.Equal(set, tags{"change": "2", "add": ""}) || !slices.Equal(remove, []string{"drop"}) {
		t.Errorf("set %v, remove %v", set, remove)
	}
	if after := managed.Apply(actual, wanted); after["backup"] != "daily" || after["change"] != "2" || after["aws:x"] != "1" || len(after) != len(actual) {
		t.Errorf("after: %v", after)
	}
}

// many returns n tags.
func many(prefix string, n int) tags {
	m := tags{}
	for i := range n {
		m[prefix+strconv.Itoa(i)] = "x"
	}
	return m
}

func TestTagsThatAWSRefusesFailAtPlan(t *testing.T) {
	iam, ec2 := TagRules{Extra: 4, Service: "IAM"}, TagRules{}
	for name, tc := range map[string]struct {
		rules                TagRules
		defaults, tags, part tags
		want                 string // "" is no error
	}{
		"what every service allows":        {iam, tags{"team": "core"}, tags{"Größe": "1.5 _.:/=+-@ 漢字", "": ""}, nil, ""},
		"a character in a key":             {iam, nil, tags{"cost?": "x"}, nil, `key of tag "cost?" in tags has the character '?'. IAM allows only letters, digits, spaces and _ . : / = + - @`},
		"a character in a value":           {iam, nil, tags{"team": "a,b"}, nil, `value of tag "team" in tags has the character ','`},
		"a character in a default":         {iam, tags{"team": "a\nb"}, nil, nil, `value of tag "team" in default_tags`},
		"a character for a bucket":         {TagRules{Service: "S3"}, nil, tags{"team": "a&b"}, nil, `'&'. S3 allows`},
		"a character that EC2 allows":      {ec2, nil, tags{"cost?": "a,b\n🎉"}, nil, ""},
		"an overridden default":            {iam, tags{"team": "a,b"}, tags{"team": "core"}, nil, ""},
		"keys of another case":             {iam, nil, tags{"name": "x", "Name": "y"}, nil, `tags has tag "Name" and tags has tag "name"`},
		"keys of another case by default":  {ec2, tags{"Owner": "x"}, tags{"owner": "y"}, nil, `default_tags has tag "Owner" and tags has tag "owner"`},
		"a key like the provider's Name":   {iam, nil, tags{"name": "x"}, nil, ""},
		"42 of the customer's and 8":       {iam, many("d", 20), many("t", 22), nil, ""},
		"43 of the customer's and 8":       {iam, many("d", 20), many("t", 23), nil, "default_tags and tags have 43 different keys, and the provider sets 8 tags of its own. AWS allows 50 tags on a resource; remove 1"},
		"defaults that are overridden":     {iam, many("t", 40), many("t", 42), nil, ""},
		"46 and 4":                         {ec2, nil, many("t", 46), nil, ""},
		"47 with Name, and 3":              {ec2, nil, merge(many("t", 46), tags{"Name": "x"}), nil, ""},
		"tags of a part":                   {iam, many("d", 20), many("t", 20), many("p", 3), "default_tags and tags and nodes.tags have 43 different keys"},
		"another case in a part":           {iam, tags{"Owner": "x"}, nil, tags{"owner": "y"}, `default_tags has tag "Owner" and nodes.tags has tag "owner"`},
		"a character that a part has":      {iam, nil, nil, tags{"tier": "a*"}, `tag "tier" in nodes.tags has the character '*'`},
		"a default that the part override": {iam, tags{"tier": "1"}, tags{"tier": "2"}, tags{"tier": "3"}, ""},
	} {
		var diags diag.Diagnostics
		parts := map[string]TagAttribute{}
		if tc.part != nil {
			parts["app1"] = TagAttribute{path.Root("nodes").AtName("tags"), attribute(tc.part)}
		}
		TagSettings{Default: tc.defaults}.check(tc.rules, TagAttribute{tagsPath, attribute(tc.tags)}, parts, &diags)
		found := ""
		for _, d := range diags.Errors() {
			found += d.Detail() + "\n"
		}
		if (found == "") != (tc.want == "") || !strings.Contains(found, tc.want) {
			t.Errorf("%s: the error is %q, want %q", name, found, tc.want)
		}
	}
}

func TestNullTagsAreAbsentAndUnknownOnesCount(t *testing.T) {
	all := map[string]tftypes.String{"owner": tftypes.StringNull(), "Owner": tftypes.StringValue("x"), "": tftypes.StringUnknown()}
	for i := range 44 {
		all[strconv.Itoa(i)] = tftypes.StringValue("x")
	}
	var diags diag.Diagnostics
	TagSettings{}.check(TagRules{}, TagAttribute{tagsPath, mapValue(all)}, nil, &diags)
	if diags.HasError() {
		t.Errorf("46 tags are refused: %v", diags)
	}
	all["one more"] = tftypes.StringUnknown()
	TagSettings{}.check(TagRules{}, TagAttribute{tagsPath, mapValue(all)}, nil, &diags)
	if !diags.HasError() {
		t.Error("47 tags are not refused")
	}
	if known, ok := TagMap(mapValue(map[string]tftypes.String{"owner": tftypes.StringNull(), "team": tftypes.StringValue("")})); !ok || !maps.Equal(known, tags{"team": ""}) {
		t.Errorf("the tags are %v", known)
	}
}

func TestAConfiguredTagThatIsIgnoredIsReported(t *testing.T) {
	var diags diag.Diagnostics
	TagSettings{IgnoreKeys: []string{"cost"}}.check(TagRules{}, TagAttribute{tagsPath, attribute(tags{"cost": "1", "team": "2"})}, nil, &diags)
	if w := diags.Warnings(); len(w) != 1 || !strings.Contains(w[0].Detail(), `ignore_tags has the key "cost"`) {
		t.Errorf("warnings are %v", w)
	}
}

// The limits are in characters: 200 umlauts are 400 bytes.
func TestLengthsOfTagsAreInCharacters(t *testing.T) {
	for name, tc := range map[string]struct {
		key, value string
		refused    bool
	}{
		"longest":        {strings.Repeat("ü", 128), strings.Repeat("漢", 256), false},
		"key too long":   {strings.Repeat("ü", 129), "", true},
		"value too long": {"a", strings.Repeat("ü", 257), true},
		"empty key":      {"", "", true},
	} {
		diags := diag.Diagnostics{}
		for _, v := range TagValidators() {
			var resp validator.MapResponse
			v.ValidateMap(t.Context(), validator.MapRequest{Path: tagsPath, ConfigValue: attribute(tags{tc.key: tc.value})}, &resp)
			diags.Append(resp.Diagnostics...)
		}
		if diags.HasError() != tc.refused {
			t.Errorf("%s: %v", name, diags)
		}
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
