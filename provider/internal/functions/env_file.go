// Package functions has the provider's functions. They need neither credentials nor
// the network, so they work in `terraform console` and at plan.
package functions

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework/function"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/xeroops/xeroops/internal/envfile"
)

type envFile struct{}

// NewEnvFile returns the function env_file.
func NewEnvFile() function.Function { return envFile{} }

func (envFile) Metadata(_ context.Context, _ function.MetadataRequest, resp *function.MetadataResponse) {
	resp.Name = "env_file"
}

func (envFile) Definition(_ context.Context, _ function.DefinitionRequest, resp *function.DefinitionResponse) {
	resp.Definition = function.Definition{
		Summary: "Format variables as an env file",
		MarkdownDescription: "Returns variables in the syntax of systemd's `EnvironmentFile=`, one line each, sorted by name. " +
			"Every value is quoted, so that systemd and a POSIX shell read exactly the same value.",
		Parameters: []function.Parameter{function.MapParameter{
			Name:                "variables",
			ElementType:         types.StringType,
			MarkdownDescription: "Values by name. A name consists of letters, digits and `_`, and does not start with a digit.",
		}},
		Return: function.StringReturn{},
	}
}

func (envFile) Run(ctx context.Context, req function.RunRequest, resp *function.RunResponse) {
	var vars map[string]string
	if resp.Error = req.Arguments.Get(ctx, &vars); resp.Error != nil {
		return
	}
	text, err := envfile.Format(vars)
	if err != nil {
		resp.Error = function.NewArgumentFuncError(0, "format env file: "+err.Error())
		return
	}
	resp.Error = resp.Result.Set(ctx, text)
}

type parseEnvFile struct{}

// NewParseEnvFile returns the function parse_env_file.
func NewParseEnvFile() function.Function { return parseEnvFile{} }

func (parseEnvFile) Metadata(_ context.Context, _ function.MetadataRequest, resp *function.MetadataResponse) {
	resp.Name = "parse_env_file"
}

func (parseEnvFile) Definition(_ context.Context, _ function.DefinitionRequest, resp *function.DefinitionResponse) {
	resp.Definition = function.Definition{
		Summary: "Parse an env file",
		MarkdownDescription: "Returns the variables of a text in the syntax of systemd's `EnvironmentFile=`, with comments, quotes, escapes " +
			"and continued lines. Errors have the line number.",
		Parameters: []function.Parameter{function.StringParameter{
			Name:                "text",
			MarkdownDescription: "The file's content.",
		}},
		Return: function.MapReturn{ElementType: types.StringType},
	}
}

func (parseEnvFile) Run(ctx context.Context, req function.RunRequest, resp *function.RunResponse) {
	var text string
	if resp.Error = req.Arguments.Get(ctx, &text); resp.Error != nil {
		return
	}
	vars, err := envfile.Parse(text)
	if err != nil {
		resp.Error = function.NewArgumentFuncError(0, "parse env file: "+err.Error())
		return
	}
	resp.Error = resp.Result.Set(ctx, vars)
}
