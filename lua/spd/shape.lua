--- Sizes of tensors and values, from their shapes.
local shape = {}

local function product(sizes, last)
  local count = 1
  for i = 1, last do count = count * sizes[i] end
  return count
end

--- shape.count(x) -> number of elements of x
function shape.count(x)
  local sizes = x.shape
  return product(sizes, #sizes)
end

--- shape.rows(x) -> number of rows of x [..., n]: the product of its leading dimensions
function shape.rows(x)
  local sizes = x.shape
  return product(sizes, #sizes - 1)
end

return shape
