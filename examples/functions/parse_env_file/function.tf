# { LOG_LEVEL = "info", PORT = "8000" }
output "settings" {
  value = provider::xeroops::parse_env_file(<<-EOT
    # a comment
    LOG_LEVEL=info
    PORT='8000'
  EOT
  )
}
