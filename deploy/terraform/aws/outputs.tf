output "balancer" {
  description = "Where base_url's host must point to."
  value       = aws_lb.this.dns_name
}

output "secret" {
  description = "The secret with the API key."
  value       = aws_secretsmanager_secret.this.arn
}
