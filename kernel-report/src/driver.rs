//! RADV's null device through Vulkan: what it is, and what it makes of a shader.

#![allow(unsafe_code, reason = "Vulkan is an interface of C")]

use std::collections::BTreeMap;
use std::ffi::CStr;

use ash::vk;

/// An open null device.
pub struct Driver {
    device: ash::Device,
    statistics: ash::khr::pipeline_executable_properties::Device,
    instance: ash::Instance,
    /// Name the driver gives.
    pub name: String,
    /// Least and greatest width of subgroups.
    pub subgroups: (u32, u32),
    /// Bytes of workgroup memory.
    pub workgroup_memory: u32,
    /// Size of square cooperative matrices from f16 to f32, if there are any.
    pub matrices: Option<u32>,
    /// Keeps the loader's library open; dropped last.
    _entry: ash::Entry,
}

/// What the compiler tells of a shader.
pub struct Compiled {
    /// Its figures by name.
    pub figures: BTreeMap<String, u64>,
    /// The machine's instructions as text.
    pub assembly: String,
}

type Fallible<T> = Result<T, String>;

fn said(what: &'static str) -> impl Fn(vk::Result) -> String {
    move |result| format!("{what}: {result}")
}

impl Driver {
    /// Opens the first device that the loader finds, which must be a null one.
    ///
    /// # Errors
    /// There is no Vulkan, no such device, or it can't tell what it compiles.
    pub fn open() -> Fallible<Driver> {
        // SAFETY: the system's own loader is opened, whose initialisation has no conditions.
        let entry = unsafe { ash::Entry::load() }.map_err(|error| format!("no Vulkan loader: {error}"))?;
        let app = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
        let info = vk::InstanceCreateInfo::default().application_info(&app);
        // SAFETY: every structure is alive during the call that gets it, here and in all that follows; a handle is used only
        // with the device that made it, and `Drop` destroys the device before the instance.
        unsafe {
            let instance = entry.create_instance(&info, None).map_err(said("vkCreateInstance"))?;
            let opened = Driver::open_in(&entry, &instance);
            let (device, statistics, name, subgroups, workgroup_memory, matrices) =
                opened.inspect_err(|_| instance.destroy_instance(None))?;
            Ok(Driver { device, statistics, instance, name, subgroups, workgroup_memory, matrices, _entry: entry })
        }
    }

    #[expect(clippy::type_complexity, reason = "the fields of a driver, in one place")]
    unsafe fn open_in(
        entry: &ash::Entry,
        instance: &ash::Instance,
    ) -> Fallible<(ash::Device, ash::khr::pipeline_executable_properties::Device, String, (u32, u32), u32, Option<u32>)>
    {
        // SAFETY: as in `open`.
        unsafe {
            let found = instance.enumerate_physical_devices().map_err(said("vkEnumeratePhysicalDevices"))?;
            let physical = *found.first().ok_or("no device")?;
            let mut widths = vk::PhysicalDeviceSubgroupSizeControlProperties::default();
            let mut properties = vk::PhysicalDeviceProperties2::default().push_next(&mut widths);
            instance.get_physical_device_properties2(physical, &mut properties);
            let shared = properties.properties.limits.max_compute_shared_memory_size;
            let name =
                properties.properties.device_name_as_c_str().map_or(String::new(), |s| s.to_string_lossy().into());
            let subgroups = (widths.min_subgroup_size, widths.max_subgroup_size);
            if !name.starts_with("Null hardware") {
                return Err(format!("{name} is no null device"));
            }
            let known = instance.enumerate_device_extension_properties(physical).map_err(said("extensions"))?;
            let has = |name: &CStr| known.iter().any(|known| known.extension_name_as_c_str() == Ok(name));
            if !has(ash::khr::pipeline_executable_properties::NAME) {
                return Err(format!("{name} can't tell what it compiles"));
            }
            let asked = ash::khr::cooperative_matrix::Instance::new(entry, instance);
            let matrices = if has(ash::khr::cooperative_matrix::NAME) {
                let shapes = asked.get_physical_device_cooperative_matrix_properties(physical);
                let shapes = shapes.map_err(said("matrix shapes"))?;
                shapes.iter().filter(|shape| is_wanted(shape)).map(|shape| shape.m_size).max()
            } else {
                None
            };

            // What wgpu turns on, as far as it changes code: robust access decides which loads may be joined.
            let mut executables =
                vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default().pipeline_executable_info(true);
            let mut v11 = vk::PhysicalDeviceVulkan11Features::default()
                .storage_buffer16_bit_access(true)
                .uniform_and_storage_buffer16_bit_access(true);
            let mut v12 = vk::PhysicalDeviceVulkan12Features::default()
                .shader_float16(true)
                .vulkan_memory_model(true)
                .vulkan_memory_model_device_scope(true)
                .shader_subgroup_extended_types(true);
            let mut v13 = vk::PhysicalDeviceVulkan13Features::default().subgroup_size_control(true);
            let mut robust = vk::PhysicalDeviceRobustness2FeaturesEXT::default().robust_buffer_access2(true);
            let mut matrix = vk::PhysicalDeviceCooperativeMatrixFeaturesKHR::default().cooperative_matrix(true);
            let core = vk::PhysicalDeviceFeatures::default().robust_buffer_access(true).shader_int16(true);
            let mut extensions = vec![ash::khr::pipeline_executable_properties::NAME.as_ptr()];
            let queues = [vk::DeviceQueueCreateInfo::default().queue_family_index(0).queue_priorities(&[1.0])];
            let mut info = vk::DeviceCreateInfo::default()
                .queue_create_infos(&queues)
                .enabled_features(&core)
                .push_next(&mut v11)
                .push_next(&mut v12)
                .push_next(&mut v13)
                .push_next(&mut executables);
            if has(ash::ext::robustness2::NAME) {
                extensions.push(ash::ext::robustness2::NAME.as_ptr());
                info = info.push_next(&mut robust);
            }
            if matrices.is_some() {
                extensions.push(ash::khr::cooperative_matrix::NAME.as_ptr());
                info = info.push_next(&mut matrix);
            }
            let info = info.enabled_extension_names(&extensions);
            let device = instance.create_device(physical, &info, None).map_err(said("vkCreateDevice"))?;
            let statistics = ash::khr::pipeline_executable_properties::Device::new(instance, &device);
            Ok((device, statistics, name, subgroups, shared, matrices))
        }
    }

    /// Compiles a compute shader with a uniform buffer at binding 0 and `storage` storage buffers behind it, for subgroups of
    /// `width` or of a width that the driver chooses, as with wgpu.
    ///
    /// # Errors
    /// What the driver says.
    pub fn compile(&self, spirv: &[u32], storage: u32, width: Option<u32>) -> Fallible<Compiled> {
        let binding = |i: u32| {
            let kind = if i == 0 { vk::DescriptorType::UNIFORM_BUFFER } else { vk::DescriptorType::STORAGE_BUFFER };
            let binding = vk::DescriptorSetLayoutBinding::default().binding(i).descriptor_type(kind);
            binding.descriptor_count(1).stage_flags(vk::ShaderStageFlags::COMPUTE)
        };
        let bindings: Vec<_> = (0..=storage).map(binding).collect();
        let device = &self.device;
        // SAFETY: as in `open`; what is made here is destroyed here, after the pipeline that was made of it.
        unsafe {
            let module = vk::ShaderModuleCreateInfo::default().code(spirv);
            let module = device.create_shader_module(&module, None).map_err(said("vkCreateShaderModule"))?;
            let sets = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
            let sets = [device.create_descriptor_set_layout(&sets, None).map_err(said("set layout"))?];
            let layout = vk::PipelineLayoutCreateInfo::default().set_layouts(&sets);
            let layout = device.create_pipeline_layout(&layout, None).map_err(said("pipeline layout"))?;
            let stage = vk::PipelineShaderStageCreateInfo::default().stage(vk::ShaderStageFlags::COMPUTE);
            let mut stage = stage.module(module).name(c"main");
            let mut required = vk::PipelineShaderStageRequiredSubgroupSizeCreateInfo::default();
            if let Some(width) = width {
                required.required_subgroup_size = width;
                stage = stage.push_next(&mut required);
            } else {
                stage.flags = vk::PipelineShaderStageCreateFlags::ALLOW_VARYING_SUBGROUP_SIZE;
            }
            let flags = vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR
                | vk::PipelineCreateFlags::CAPTURE_INTERNAL_REPRESENTATIONS_KHR;
            let info = vk::ComputePipelineCreateInfo::default().flags(flags).layout(layout).stage(stage);
            let made = device.create_compute_pipelines(vk::PipelineCache::null(), &[info], None);
            let compiled = match made {
                Ok(pipelines) => {
                    let told = self.told_of(pipelines[0]);
                    device.destroy_pipeline(pipelines[0], None);
                    told
                }
                Err((_, result)) => Err(format!("vkCreateComputePipelines: {result}")),
            };
            device.destroy_pipeline_layout(layout, None);
            device.destroy_descriptor_set_layout(sets[0], None);
            device.destroy_shader_module(module, None);
            compiled
        }
    }

    unsafe fn told_of(&self, pipeline: vk::Pipeline) -> Fallible<Compiled> {
        let info = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline).executable_index(0);
        // SAFETY: as in `open`. The texts' memory is as large as the driver said, and lives until they are read.
        unsafe {
            let told = self.statistics.get_pipeline_executable_statistics(&info).map_err(said("statistics"))?;
            let text =
                |chars: Result<&CStr, _>| chars.map_or(String::new(), |s: &CStr| s.to_string_lossy().into_owned());
            let figures = told.iter().map(|one| (text(one.name_as_c_str()), one.value.u64)).collect();
            let mut texts = self
                .statistics
                .get_pipeline_executable_internal_representations(&info)
                .map_err(said("representations"))?;
            let mut bytes: Vec<Vec<u8>> = texts.iter().map(|text| vec![0; text.data_size]).collect();
            for (text, bytes) in texts.iter_mut().zip(&mut bytes) {
                text.p_data = bytes.as_mut_ptr().cast();
            }
            let mut count = texts.len() as u32;
            let get = self.statistics.fp().get_pipeline_executable_internal_representations_khr;
            get(self.device.handle(), &info, &mut count, texts.as_mut_ptr())
                .result()
                .map_err(said("representations"))?;
            // The last one is the machine's.
            let last = bytes.pop().ok_or("the driver shows no assembly")?;
            let assembly = String::from_utf8_lossy(&last).trim_end_matches('\0').to_owned();
            Ok(Compiled { figures, assembly })
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // SAFETY: nothing that the device made is left.
        unsafe {
            self.device.destroy_device(None);
            self.instance.destroy_instance(None);
        }
    }
}

fn is_wanted(shape: &vk::CooperativeMatrixPropertiesKHR<'_>) -> bool {
    let (half, single) = (vk::ComponentTypeKHR::FLOAT16, vk::ComponentTypeKHR::FLOAT32);
    let square = shape.m_size == shape.n_size && shape.n_size == shape.k_size;
    square
        && [8, 16].contains(&shape.m_size)
        && (shape.a_type, shape.b_type, shape.c_type, shape.result_type) == (half, half, single, single)
        && shape.scope == vk::ScopeKHR::SUBGROUP
}
