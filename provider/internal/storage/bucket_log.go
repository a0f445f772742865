package storage

import (
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/xeroops/xeroops/provider/internal/base"
)

type accessLogModel struct {
	Bucket types.String `tfsdk:"bucket"`
	Prefix types.String `tfsdk:"prefix"`
}

func accessLogAttribute() schema.SingleNestedAttribute {
	return schema.SingleNestedAttribute{
		Optional:            true,
		MarkdownDescription: "Access log: S3 writes a record of each request to this bucket into another bucket, within hours and without a guarantee that none is missing.",
		Attributes: map[string]schema.Attribute{
			"bucket": schema.StringAttribute{Required: true, Validators: []validator.String{stringvalidator.LengthBetween(3, 63)},
				MarkdownDescription: "Name of the bucket for the records, of the same account and region: an `xeroops_bucket` with `receive_access_logs`, or one whose policy allows `" + logDelivery + "` to write."},
			"prefix": schema.StringAttribute{Optional: true, Validators: []validator.String{stringvalidator.LengthBetween(1, 512)},
				MarkdownDescription: "Prefix of the keys of the records, such as `uploads/`. Default: none."},
		},
	}
}

// checkReceiver returns an error if a bucket for access logs has settings with which S3
// does not write to it (S3 user guide, "Enabling Amazon S3 server access logging").
func (m *bucketModel) checkReceiver() error {
	if !m.ReceiveAccessLogs.ValueBool() {
		return nil
	}
	at := path.Root("receive_access_logs")
	switch {
	case m.KMSKeyID.ValueString() != "":
		return base.AtAttribute(at, errors.New("S3 writes access logs only to buckets that are encrypted with its own keys; remove kms_key_id"))
	case m.ObjectLock != nil:
		return base.AtAttribute(at, errors.New("S3 does not write access logs to buckets with Object Lock; remove object_lock"))
	case m.AccessLog != nil:
		return base.AtAttribute(at, errors.New("a bucket that receives access logs would log their delivery as well; remove access_log"))
	}
	return nil
}

func (m *accessLogModel) checkTarget(name string) error {
	if m == nil || name == "" || m.Bucket.ValueString() != name {
		return nil
	}
	return base.AtAttribute(path.Root("access_log").AtName("bucket"), errors.New("a bucket that logs into itself would log the delivery of each record; use another bucket"))
}

func expandLog(m *accessLogModel) *s3types.BucketLoggingStatus {
	if m == nil {
		return &s3types.BucketLoggingStatus{}
	}
	return &s3types.BucketLoggingStatus{LoggingEnabled: &s3types.LoggingEnabled{TargetBucket: m.Bucket.ValueStringPointer(), TargetPrefix: aws.String(m.Prefix.ValueString())}}
}

func flattenLog(e *s3types.LoggingEnabled) *accessLogModel {
	if e == nil {
		return nil
	}
	m := &accessLogModel{Bucket: types.StringPointerValue(e.TargetBucket)}
	if prefix := aws.ToString(e.TargetPrefix); prefix != "" {
		m.Prefix = types.StringValue(prefix)
	}
	return m
}

func (m *accessLogModel) equal(o *accessLogModel) bool {
	if m == nil || o == nil {
		return m == o
	}
	return m.Bucket.Equal(o.Bucket) && m.Prefix.Equal(o.Prefix)
}
