package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2/hcldec"
	"github.com/hashicorp/packer-plugin-sdk/communicator"

	"github.com/xeroops/xeroops/packer-plugin/builder/ebs"
	"github.com/xeroops/xeroops/packer-plugin/datasource/image"
	"github.com/xeroops/xeroops/packer-plugin/internal/access"
	"github.com/xeroops/xeroops/packer-plugin/post-processor/manifest"
	"github.com/xeroops/xeroops/packer-plugin/provisioner/role"
)

func TestEveryAttributeIsDocumented(t *testing.T) {
	shared := (&access.Config{}).FlatMapstructure().HCL2Spec()
	inherited := (&communicator.Config{}).FlatMapstructure().HCL2Spec() // documented by Packer
	for page, spec := range map[string]hcldec.ObjectSpec{
		"README.md":                   shared,
		"builders/ebs.md":             new(ebs.Builder).ConfigSpec(),
		"provisioners/role.md":        new(role.Provisioner).ConfigSpec(),
		"datasources/image.md":        new(image.Datasource).ConfigSpec(),
		"post-processors/manifest.md": new(manifest.PostProcessor).ConfigSpec(),
	} {
		content, err := os.ReadFile("../docs/packer/" + page)
		if err != nil {
			t.Fatal(err)
		}
		for name, attribute := range spec {
			if strings.HasPrefix(name, "packer_") || inherited[name] != nil || page != "README.md" && shared[name] != nil {
				continue
			}
			for _, name := range append(nested(attribute), name) {
				if !strings.Contains(string(content), "`"+name+"`") {
					t.Errorf("docs/packer/%s does not have `%s`", page, name)
				}
			}
		}
	}
}

// nested returns the names of a block's attributes.
func nested(attribute hcldec.Spec) (names []string) {
	var block hcldec.Spec
	switch s := attribute.(type) {
	case *hcldec.BlockSpec:
		block = s.Nested
	case *hcldec.BlockListSpec:
		block = s.Nested
	}
	if object, ok := block.(hcldec.ObjectSpec); ok {
		for name := range object {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
