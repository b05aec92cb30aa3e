--- Regression by a Gaussian process with a Matern 5/2 kernel, for up to a few hundred points.
--
-- Length scale and noise are those of a few given ones under which the points are most likely; the variance of the
-- signal follows from them.
local gaussian_process = {}

local Process = {}
Process.__index = Process

local LENGTHS = {0.1, 0.2, 0.4, 0.8, 1.6}
local NOISES = {1e-6, 1e-2, 1e-1} -- variances, as fractions of the signal's

-- The first coordinates, so many as `numeric` says, are numbers; different categories in the others are 1 apart.
local function distance(x, y, numeric)
  local sum = 0.0
  for k = 1, numeric do
    local d = x[k] - y[k]
    sum = sum + d * d
  end
  for k = numeric + 1, #x do
    if x[k] ~= y[k] then sum = sum + 1 end
  end
  return math.sqrt(sum)
end

local function kernel(r, length)
  local s = math.sqrt(5) * r / length
  return (1 + s + s * s / 3) * math.exp(-s)
end

-- ---- linear algebra -----------------------------------------------------------------------------

-- L with L L^T = the symmetric matrix (its lower rows), or nil if it is not positive definite.
local function cholesky(rows)
  local L = {}
  for i = 1, #rows do
    local row, source = {}, rows[i]
    for j = 1, i do
      local other, sum = L[j] or row, source[j]
      for k = 1, j - 1 do sum = sum - row[k] * other[k] end
      if j < i then
        row[j] = sum / other[j]
      elseif sum <= 0 then
        return nil
      else
        row[j] = math.sqrt(sum)
      end
    end
    L[i] = row
  end
  return L
end

-- z with L z = y.
local function solve_lower(L, y)
  local z = {}
  for i = 1, #L do
    local row, sum = L[i], y[i]
    for k = 1, i - 1 do sum = sum - row[k] * z[k] end
    z[i] = sum / row[i]
  end
  return z
end

-- x with L^T x = z.
local function solve_upper(L, z)
  local x = {}
  for i = #L, 1, -1 do
    local sum = z[i]
    for k = i + 1, #L do sum = sum - L[k][i] * x[k] end
    x[i] = sum / L[i][i]
  end
  return x
end

local function square(list)
  local sum = 0.0
  for _, x in ipairs(list) do sum = sum + x * x end
  return sum
end

-- ---- fitting ------------------------------------------------------------------------------------

local function distances(points, numeric)
  local rows = {}
  for i, x in ipairs(points) do
    rows[i] = {}
    for j = 1, i do rows[i][j] = distance(x, points[j], numeric) end
  end
  return rows
end

local function covariances(between, length, noise)
  local rows = {}
  for i, row in ipairs(between) do
    rows[i] = {}
    for j = 1, i do rows[i][j] = kernel(row[j], length) end
    rows[i][i] = 1 + noise
  end
  return rows
end

-- The process with given length scale and noise, and how likely the points are under it; nil if it cannot be computed.
local function fit(points, y, numeric, between, length, noise)
  local L = cholesky(covariances(between, length, noise))
  if not L then return nil end
  local z, log_determinant = solve_lower(L, y), 0.0
  for i, row in ipairs(L) do log_determinant = log_determinant + 2 * math.log(row[i]) end
  local signal = math.max(square(z) / #y, 1e-12)
  local process = {
    points = points, y = y, numeric = numeric, L = L, weights = solve_upper(L, z), signal = signal, length = length,
    noise = noise,
  }
  return setmetatable(process, Process), -0.5 * (#y * math.log(signal) + log_determinant)
end

--- gaussian_process.fit(points, y, numeric) -> process
-- points: list of lists of one length, each of `numeric` numbers and then of categories (any values); y: a number for
-- each, with mean 0.
function gaussian_process.fit(points, y, numeric)
  local between, best, most = distances(points, numeric), nil, -math.huge
  for _, length in ipairs(LENGTHS) do
    for _, noise in ipairs(NOISES) do
      local process, likelihood = fit(points, y, numeric, between, length, noise)
      if process and likelihood > most then best, most = process, likelihood end
    end
  end
  return best
end

--- process:with(points) -> process
-- The same process with further points, as if they had been measured to be what it predicts there.
function Process:with(points)
  if #points == 0 then return self end
  local all, y = table.move(self.points, 1, #self.points, 1, {}), table.move(self.y, 1, #self.y, 1, {})
  for _, point in ipairs(points) do
    all[#all + 1] = point
    y[#y + 1] = (self:predict(point))
  end
  local between = distances(all, self.numeric)
  return (fit(all, y, self.numeric, between, self.length, math.max(self.noise, 1e-4))) or self
end

--- process:predict(point) -> mean, standard deviation
-- Of the signal at a point, without noise.
function Process:predict(point)
  local k, mean = {}, 0.0
  for i, x in ipairs(self.points) do
    k[i] = kernel(distance(x, point, self.numeric), self.length)
    mean = mean + k[i] * self.weights[i]
  end
  return mean, math.sqrt(self.signal * math.max(0.0, 1 - square(solve_lower(self.L, k))))
end

--- process:least() -> number
-- The least mean that the process predicts at one of its points.
function Process:least()
  local least = math.huge
  for i, y in ipairs(self.y) do least = math.min(least, y - self.noise * self.weights[i]) end
  return least
end

return gaussian_process
