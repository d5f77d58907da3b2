-- Holds a request inside HAProxy: between the stamps of its arrival and of its forwarding.
core.register_action("lab_delay", { "http-req" }, function(txn)
  local delay_ms = txn:get_var("proc.lab_delay_ms")
  if delay_ms and delay_ms > 0 then
    core.msleep(delay_ms)
  end
end, 0)
